// For tests: a host that has no thread left.
//
//   {
//     NoMoreThreads none;
//     EXPECT_FALSE(StartThread(body).ok());
//   }
//
// There is no address space for a stack, nor for much else; sanitizers cannot do with that.
#ifndef BASE_NO_MORE_THREADS_H_
#define BASE_NO_MORE_THREADS_H_

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

namespace vmm {

class NoMoreThreads {
 public:
  NoMoreThreads() {
    // A stack of a size that no thread had before, or one of theirs would do.
    pthread_attr_t attributes;
    EXPECT_EQ(pthread_attr_init(&attributes), 0);
    EXPECT_EQ(pthread_attr_setstacksize(&attributes, 64 << 20), 0);
    EXPECT_EQ(pthread_setattr_default_np(&attributes), 0);
    EXPECT_EQ(getrlimit(RLIMIT_AS, &before_), 0);
    const rlimit none = {.rlim_cur = 1, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_AS, &none), 0);
  }
  NoMoreThreads(const NoMoreThreads&) = delete;
  NoMoreThreads& operator=(const NoMoreThreads&) = delete;
  ~NoMoreThreads() { EXPECT_EQ(setrlimit(RLIMIT_AS, &before_), 0); }

 private:
  rlimit before_ = {};
};

}  // namespace vmm

#endif  // BASE_NO_MORE_THREADS_H_
