# shellcheck shell=bash
# Where big things that are not the checkout's live: kernels, headers, downloaded packages. Removing the folder is always
# safe; what is absent is fetched or built again.

# cache_dir: prints the cache folder, made if absent. VMM_CACHE overrides it.
cache_dir() {
  local dir=${VMM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vmm}
  mkdir -p "$dir"
  printf '%s\n' "$dir"
}

# newest_package PACKAGE PATTERN: prints the newest version of a Debian package whose version matches the glob PATTERN,
# among all that apt knows.
newest_package() {
  local package=$1 pattern=$2 best="" version
  while read -r version; do
    # shellcheck disable=SC2053  # The pattern is a glob on purpose.
    [[ $version == $pattern ]] || continue
    if [[ -z $best ]] || dpkg --compare-versions "$version" gt "$best"; then best=$version; fi
  done < <(apt-cache madison "$package" | awk -F'|' '$3 !~ /Sources$/ {gsub(/ /, "", $2); print $2}')
  [[ -n $best ]] && printf '%s\n' "$best"
}

# fetch_package PACKAGE VERSION FOLDER: unpacks that version into FOLDER without installing it. FOLDER appears only when
# it is complete.
fetch_package() {
  local package=$1 version=$2 folder=$3 work
  work=$(mktemp -d "$(dirname "$folder")/.fetch.XXXXXX")
  (cd "$work" && apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package=$version") >&2 &&
    dpkg -x "$work"/*.deb "$work/root" && rm -rf "$folder" && mv "$work/root" "$folder"
  local rc=$?
  rm -rf "$work"
  return $rc
}

# locked NAME COMMAND...: runs COMMAND while no other process holds the cache's lock NAME.
locked() {
  local lock
  lock="$(cache_dir)/.$1.lock"
  shift
  (
    flock 9
    "$@"
  ) 9>"$lock"
}
