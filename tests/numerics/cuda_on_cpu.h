// Runs CUDA kernels on the CPU, for tests: one block after the other, each CUDA thread a coroutine or a thread.
//
// As coroutines (the default) a thread runs until its next barrier, then a randomly drawn one goes on: a barrier that is
// missing shows as a wrong result. Barriers that not all threads reach, or not at the same line, are an error. With
// CUDA_ON_CPU_THREADS each CUDA thread is a thread of the system, for ThreadSanitizer, which sees a missing barrier
// even where the result is right. Shared memory is filled with NaN before each block.
//
// Not modelled: memory spaces, occupancy, divergence within a warp between barriers, contraction to FMA, rounding of
// the device's division and square root.
#pragma once

#include <ucontext.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using std::isfinite;
using std::sqrt;

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("cuda_shared")))
// Bounds of that section, set by the linker.
extern "C" char __start_cuda_shared[], __stop_cuda_shared[];

struct Index3 {
    unsigned x = 0, y = 0, z = 0;
};
inline thread_local Index3 threadIdx;
inline Index3 blockIdx, gridDim, blockDim;

namespace emulated {

constexpr int WARP = 32;
inline std::uint64_t exchanged[1024 / WARP][WARP];
inline char message[200];
inline unsigned seed = 0;

#ifdef CUDA_ON_CPU_THREADS

// Not std::barrier: its waiting threads meet in counters that all barriers share, which orders threads that no barrier
// orders, and so hides races.
class Barrier {
  public:
    explicit Barrier(int n_threads) : n_threads(n_threads) {}
    void wait() {
        const int now = phase.load(std::memory_order_acquire);
        if (arrived.fetch_add(1, std::memory_order_acq_rel) == n_threads - 1) {
            arrived.store(0, std::memory_order_relaxed);
            phase.store(now + 1, std::memory_order_release);
        } else {
            while (phase.load(std::memory_order_acquire) == now) std::this_thread::yield();
        }
    }

  private:
    const int n_threads;
    std::atomic<int> arrived = 0, phase = 0;
};
inline std::unique_ptr<Barrier> block_barrier;
inline std::vector<std::unique_ptr<Barrier>> warp_barriers;

inline void wait_for_block(int) { block_barrier->wait(); }
inline void wait_for_warp(int) { warp_barriers[threadIdx.x / WARP]->wait(); }

inline bool run_block(unsigned n_threads, const std::function<void()>& kernel) {
    block_barrier = std::make_unique<Barrier>(n_threads);
    warp_barriers.clear();
    for (unsigned w = 0; w < n_threads / WARP; ++w) warp_barriers.push_back(std::make_unique<Barrier>(WARP));
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < n_threads; ++t)
        threads.emplace_back([&kernel, t] {
            threadIdx = {t, 0, 0};
            kernel();
        });
    for (auto& thread : threads) thread.join();
    return true;
}

#else

enum class State { ready, at_block, at_warp, done };
struct Coroutine {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    State state = State::ready;
    int line = 0;
};
constexpr std::size_t STACK = 1 << 17;
inline std::vector<Coroutine> coroutines;
inline ucontext_t scheduler;
inline const std::function<void()>* running;

inline void leave(State state, int line) {
    Coroutine& own = coroutines[threadIdx.x];
    own.state = state;
    own.line = line;
    swapcontext(&own.context, &scheduler);
}
inline void wait_for_block(int line) { leave(State::at_block, line); }
inline void wait_for_warp(int line) { leave(State::at_warp, line); }
inline void begin() {
    (*running)();
    leave(State::done, 0);
}

// Let threads `first` to `last` go on if all of them wait at the same line.
inline bool release(unsigned first, unsigned last, State state, std::vector<unsigned>& ready) {
    for (unsigned t = first; t < last; ++t)
        if (coroutines[t].state != state || coroutines[t].line != coroutines[first].line) return false;
    for (unsigned t = first; t < last; ++t) {
        coroutines[t].state = State::ready;
        ready.push_back(t);
    }
    return true;
}

inline bool run_block(unsigned n_threads, const std::function<void()>& kernel) {
    static std::minstd_rand random;
    random.seed(seed + 1 + blockIdx.x + 7919 * blockIdx.y);
    running = &kernel;
    if (coroutines.size() < n_threads) coroutines.resize(n_threads);
    std::vector<unsigned> ready;
    for (unsigned t = 0; t < n_threads; ++t) {
        Coroutine& one = coroutines[t];
        if (!one.stack) one.stack = std::make_unique<char[]>(STACK);
        one.state = State::ready;
        getcontext(&one.context);
        one.context.uc_stack.ss_sp = one.stack.get();
        one.context.uc_stack.ss_size = STACK;
        one.context.uc_link = nullptr;
        makecontext(&one.context, begin, 0);
        ready.push_back(t);
    }
    unsigned done = 0;
    while (done < n_threads) {
        if (ready.empty()) {
            const int length = std::snprintf(message, sizeof message, "barriers not reached by all threads; lines");
            for (unsigned t = 0, at = length; t < n_threads && at < sizeof message - 12; t += WARP)
                at += std::snprintf(message + at, sizeof message - at, " %d", coroutines[t].line);
            return false;
        }
        const std::size_t drawn = random() % ready.size();
        const unsigned t = ready[drawn];
        ready[drawn] = ready.back();
        ready.pop_back();
        threadIdx = {t, 0, 0};
        swapcontext(&scheduler, &coroutines[t].context);
        if (coroutines[t].state == State::at_warp) {
            const unsigned first = t / WARP * WARP;
            release(first, first + WARP, State::at_warp, ready);
        } else if (coroutines[t].state == State::at_block) {
            if (ready.empty()) release(0, n_threads, State::at_block, ready);
        } else {
            ++done;
        }
    }
    return true;
}

#endif

// Run a kernel on a grid; returns nullptr, or what went wrong.
inline const char* run(unsigned grid_x, unsigned grid_y, unsigned n_threads, const std::function<void()>& kernel) {
    gridDim = {grid_x, grid_y, 1};
    blockDim = {n_threads, 1, 1};
    for (unsigned y = 0; y < grid_y; ++y)
        for (unsigned x = 0; x < grid_x; ++x) {
            blockIdx = {x, y, 0};
            std::memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
            if (!run_block(n_threads, kernel)) return message;
        }
    return nullptr;
}

// All lanes hand in a value, then each reads what `read` takes from those of its warp.
template <typename T, typename Read> auto exchange(T value, int line, Read read) {
    auto& own = exchanged[threadIdx.x / WARP];
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    own[threadIdx.x % WARP] = bits;
    wait_for_warp(line);
    const auto result = read(own);
    wait_for_warp(line);
    return result;
}

template <typename T> T shuffle(T value, int from, int line) {
    return exchange(value, line, [from](const std::uint64_t* all) {
        T result;
        std::memcpy(&result, &all[from & (WARP - 1)], sizeof result);
        return result;
    });
}

template <typename T> T shuffle_up(T value, int step, int line) {
    const int lane = threadIdx.x % WARP;
    return shuffle(value, lane < step ? lane : lane - step, line);
}

template <typename T> T shuffle_xor(T value, int mask, int line) {
    return shuffle(value, (int)(threadIdx.x % WARP) ^ mask, line);
}

inline unsigned ballot(bool value, int line) {
    return exchange(value, line, [](const std::uint64_t* all) {
        unsigned result = 0;
        for (int lane = 0; lane < WARP; ++lane) result |= (unsigned)(all[lane] & 1) << lane;
        return result;
    });
}

}  // namespace emulated

#define __syncthreads() emulated::wait_for_block(__LINE__)
#define __syncwarp() emulated::wait_for_warp(__LINE__)
#define __shfl_sync(mask, value, from) emulated::shuffle(value, from, __LINE__)
#define __shfl_up_sync(mask, value, step) emulated::shuffle_up(value, step, __LINE__)
#define __shfl_xor_sync(mask, value, lanes) emulated::shuffle_xor(value, lanes, __LINE__)
#define __ballot_sync(mask, value) emulated::ballot(value, __LINE__)

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int atomicAdd(int* at, int value) { return __atomic_fetch_add(at, value, __ATOMIC_RELAXED); }
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline long long __double_as_longlong(double x) {
    long long bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

extern "C" void set_seed(unsigned value) { emulated::seed = value; }
