// The /init of a guest whose boot is timed: says that it is there, and stays.
#include <unistd.h>

int main() {
  constexpr char kGreeting[] = "GUEST-INIT\n";
  if (write(STDOUT_FILENO, kGreeting, sizeof(kGreeting) - 1) < 0) return 1;
  while (true) pause();
}
