// Kernels of `fit` and `decode` on a CUDA device; `cuda.py` launches them and says what each argument is.
//
// Plain C++17 and CUDA, without headers, for NVRTC. Shared memory is one struct a kernel, declared in the kernel itself.
// The tests compile the same text with g++ (tests/numerics/cuda_on_cpu.h), so no other CUDA name may be used than
// stands there.

namespace {

constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr int WARP = 32;

// ---------------------------------------------------------------------------------------------------------------------
// select: the k largest |product| of each unit among the usable voxels
// ---------------------------------------------------------------------------------------------------------------------

constexpr int SELECT_THREADS = 256;
constexpr int SELECT_WARPS = SELECT_THREADS / WARP;
constexpr int DIGIT = 11;  // bits settled by one histogram
constexpr int BINS = 1 << DIGIT;
constexpr int BINS_A_THREAD = BINS / SELECT_THREADS;

// The bits of |x| as an unsigned number, which orders as |x| does.
template <typename T> struct Magnitude;
template <> struct Magnitude<float> {
    using Key = unsigned int;
    static constexpr int BITS = 31;
    static __device__ Key of(float x) { return __float_as_uint(x) & 0x7fffffffu; }
};
template <> struct Magnitude<double> {
    using Key = unsigned long long;
    static constexpr int BITS = 63;
    static __device__ Key of(double x) { return (Key)__double_as_longlong(x) & 0x7fffffffffffffffull; }
};

struct SelectShared {
    int histogram[BINS];
    int warp_total[SELECT_WARPS];
    int counts[2][SELECT_WARPS];
    int bin;   // in which the k-th largest key lies
    int left;  // its rank within that bin, from 1
};

// Find the bin of the `left`-th largest key, counting from the top bin down. One barrier inside, one must follow.
__device__ void find_bin(SelectShared& s, int left) {
    const int thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP;
    const int top = BINS - 1 - thread * BINS_A_THREAD;  // this thread's bins: top, top - 1, ...
    int own = 0;
    for (int b = 0; b < BINS_A_THREAD; ++b) own += s.histogram[top - b];
    int sum = own;  // of the warp's threads up to this one
    for (int step = 1; step < WARP; step *= 2) {
        const int other = __shfl_up_sync(ALL_LANES, sum, step);
        if (lane >= step) sum += other;
    }
    if (lane == WARP - 1) s.warp_total[warp] = sum;
    __syncthreads();
    int before = sum - own;
    for (int w = 0; w < warp; ++w) before += s.warp_total[w];
    if (before >= left || left > before + own) return;  // one thread stays
    for (int b = 0;; ++b) {
        const int here = s.histogram[top - b];
        if (left <= before + here) {
            s.bin = top - b;
            s.left = left - before;
            return;
        }
        before += here;
    }
}

// One block a unit. Settles the k-th largest key digit by digit, then takes all keys above it and, of those equal to it,
// the first ones until there are k, in the order of the voxels.
template <typename T>
__device__ void select(SelectShared& s, const T* products, const unsigned char* usable, int n_voxels, int k, int* voxel,
                       T* rhs) {
    using Key = typename Magnitude<T>::Key;
    const int thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP;
    products += (long long)blockIdx.x * n_voxels;
    voxel += (long long)blockIdx.x * k;
    rhs += (long long)blockIdx.x * k;

    Key threshold = 0;                // its bits from `high` up, shifted down
    int left = k;                     // how many of the keys that begin with these bits are among the k largest
    int high = Magnitude<T>::BITS;
    while (high > 0) {
        const int low = high > DIGIT ? high - DIGIT : 0;
        const int mask = (1 << (high - low)) - 1;
        for (int b = thread; b < BINS; b += SELECT_THREADS) s.histogram[b] = 0;
        __syncthreads();
        for (int v = thread; v < n_voxels; v += SELECT_THREADS) {
            if (!usable[v]) continue;
            const Key key = Magnitude<T>::of(products[v]);
            if (key >> high == threshold) atomicAdd(&s.histogram[(int)(key >> low) & mask], 1);
        }
        __syncthreads();
        find_bin(s, left);
        __syncthreads();
        threshold = (threshold << (high - low)) | (Key)s.bin;
        left = s.left;
        high = low;  // bin and left are not written again before all have passed two more barriers
    }

    int n_above = 0, n_equal = 0;  // among the voxels before this round
    for (int first = 0, turn = 0; first < n_voxels; first += SELECT_THREADS, turn ^= 1) {
        const int v = first + thread;
        T product = 0;
        bool above = false, equal = false;
        if (v < n_voxels && usable[v]) {
            product = products[v];
            const Key key = Magnitude<T>::of(product);
            above = key > threshold;
            equal = key == threshold;
        }
        const unsigned lanes_above = __ballot_sync(ALL_LANES, above), lanes_equal = __ballot_sync(ALL_LANES, equal);
        if (lane == 0) s.counts[turn][warp] = __popc(lanes_above) | __popc(lanes_equal) << 16;
        // One barrier a round: what is written here was read two rounds ago, before the last barrier.
        __syncthreads();
        const unsigned lanes_before = (1u << lane) - 1;
        int above_before = n_above + __popc(lanes_above & lanes_before);
        int equal_before = n_equal + __popc(lanes_equal & lanes_before);
        for (int w = 0; w < SELECT_WARPS; ++w) {
            const int count = s.counts[turn][w];
            if (w < warp) above_before += count & 0xffff, equal_before += count >> 16;
            n_above += count & 0xffff, n_equal += count >> 16;
        }
        if (above || (equal && equal_before < left)) {
            const int at = above_before + (equal_before < left ? equal_before : left);
            voxel[at] = v;
            rhs[at] = product;
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// solve: (gram[S, S] + alpha I) w = rhs by a blocked Cholesky factorisation, one block a unit
// ---------------------------------------------------------------------------------------------------------------------

constexpr int SOLVE_THREADS = 128;
constexpr int SOLVE_WARPS = SOLVE_THREADS / WARP;
constexpr int PANEL = 32;           // columns factorised together, one a lane
constexpr int STRIDE = PANEL + 4;   // of PANEL x PANEL matrices in shared memory: 16-byte rows, few bank conflicts
constexpr int MAX_VOXELS = 1024;
constexpr int THREAD_COLUMNS = 4;   // a thread's part of a tile: ROWS / 16 rows of 4 columns
constexpr int ROW_THREADS = SOLVE_THREADS / (PANEL / THREAD_COLUMNS);  // 16
// Refinement that changes the solution by more than this share means a factor too rough for one step to mend: the error
// left is about the square of it.
constexpr double MAX_CHANGE = 1e-3;

// Four numbers, moved 16 bytes at a time.
template <typename T> struct __align__(16) Four { T v[4]; };

template <typename T> __device__ Four<T> load(const T* at) { return *reinterpret_cast<const Four<T>*>(at); }
template <typename T> __device__ void store(T* at, const Four<T>& four) { *reinterpret_cast<Four<T>*>(at) = four; }

// All small matrices are stored column by column. L is (rows, columns) with `rows` from column to column.
template <typename T, int ROWS> struct SolveShared {
    __align__(16) T tile[PANEL * ROWS];       // rows of L to multiply, then the panel; at last the vectors x and r
    __align__(16) T other[PANEL * STRIDE];    // L[panel's rows, :], transposed; then the factor of the diagonal block
    __align__(16) T inverse[PANEL * STRIDE];  // of that factor, transposed
    int chosen[MAX_VOXELS];
    double partial[2 * SOLVE_WARPS];
    int good;
};

template <typename In, typename T> struct System {
    const In* gram;  // (n_voxels, n_voxels), symmetric
    long long n_voxels;
    const In* rhs;
    T alpha;
    int k;
    T* L;
    int rows;     // k + 1 rounded up to whole panels: row k of L is the right-hand side, those below it are 0
    int columns;  // k rounded up to whole panels; those from k on are never read
};

// The entry of the matrix that is factorised: the system, with the right-hand side below it as row k.
template <typename In, typename T>
__device__ T entry(const System<In, T>& system, const int* chosen, int row, int column) {
    if (row < system.k && column < system.k) {
        const T value = system.gram[chosen[column] * system.n_voxels + chosen[row]];
        return row == column ? value + system.alpha : value;
    }
    return row == system.k && column < system.k ? (T)system.rhs[column] : T(0);
}

// sum[i][j] += (or -=) the sum over m of tile[row_i, m] * other[column + j, m], for a thread's rows and columns.
template <bool SUBTRACT, typename T, int ROWS>
__device__ void multiply(T (&sum)[ROWS / ROW_THREADS][THREAD_COLUMNS], const T* tile, const T* other, int row,
                         int column) {
#pragma unroll 4
    for (int m = 0; m < PANEL; ++m) {
        const Four<T> b = load(other + m * STRIDE + column);
#pragma unroll
        for (int part = 0; part < ROWS / 64; ++part) {
            const Four<T> a = load(tile + m * ROWS + part * 64 + row);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
#pragma unroll
                for (int j = 0; j < THREAD_COLUMNS; ++j)
                    sum[4 * part + i][j] += SUBTRACT ? -a.v[i] * b.v[j] : a.v[i] * b.v[j];
            }
        }
    }
}

// Factorise the diagonal block (the first PANEL rows of `tile`) and invert the factor; run by one whole warp.
//
// Lane i holds row i of the block and column i of the inverse in registers; both need the same broadcast numbers. Only
// the first `n` columns are factorised. What stands above the diagonal, and in other columns, is not defined.
// Returns whether all pivots were positive.
template <typename T, int ROWS> __device__ bool factorise(SolveShared<T, ROWS>& s, int n) {
    // The lane's number by way of a shuffle: else the compiler computes all comparisons with it once, long before, and
    // keeps the results in registers that it does not have.
    const int lane = __shfl_sync(ALL_LANES, (int)threadIdx.x, threadIdx.x % WARP);
    T a[PANEL], x[PANEL];
#pragma unroll
    for (int j = 0; j < PANEL; ++j) {
        a[j] = s.tile[j * ROWS + lane];
        x[j] = j == lane ? 1 : 0;
    }
    bool good = true;
#pragma unroll
    for (int c = 0; c < PANEL; ++c) {
        if (c >= n) break;
        const T pivot = __shfl_sync(ALL_LANES, a[c], c);
        good = good && pivot > 0 && isfinite(pivot);
        const T scale = 1 / sqrt(pivot);
        const T own = a[c] * scale;
        s.other[c * STRIDE + lane] = own;
        x[c] *= scale;
        __syncwarp();
#pragma unroll
        for (int j = c + 1; j < PANEL; ++j) {
            const T broadcast = s.other[c * STRIDE + j];
            a[j] -= own * broadcast;
            x[j] -= x[c] * broadcast;
        }
    }
#pragma unroll
    for (int j = 0; j < PANEL; ++j) s.inverse[lane * STRIDE + j] = x[j];
    return good;
}

// Factorise the whole system, panel by panel, left to right: each panel is gathered, updated by the panels before it,
// and solved, tile of rows by tile of rows. Ends with a barrier. Returns whether all pivots were positive.
template <typename In, typename T, int ROWS>
__device__ bool factorise_all(SolveShared<T, ROWS>& s, const System<In, T>& system) {
    const int thread = threadIdx.x;
    const int row = thread % ROW_THREADS * 4, column = thread / ROW_THREADS * THREAD_COLUMNS;
    const int rows = system.rows;
    T* const L = system.L;
    for (int panel = 0; panel < system.columns; panel += PANEL) {
        for (int first = panel; first < rows; first += ROWS) {
            T sum[ROWS / ROW_THREADS][THREAD_COLUMNS];
#pragma unroll
            for (int i = 0; i < ROWS / ROW_THREADS; ++i) {
#pragma unroll
                for (int j = 0; j < THREAD_COLUMNS; ++j)
                    sum[i][j] = entry(system, s.chosen, first + i / 4 * 64 + row + i % 4, panel + column + j);
            }
            for (int before = 0; before < panel; before += PANEL) {
                __syncthreads();  // the last use of tile and other is over
                for (int four = thread; four < PANEL * ROWS / 4; four += SOLVE_THREADS) {
                    const int m = four / (ROWS / 4), r = four % (ROWS / 4) * 4;
                    Four<T> value = {};
                    if (first + r < rows) value = load(L + (long long)(before + m) * rows + first + r);
                    store(s.tile + m * ROWS + r, value);
                }
                for (int four = thread; four < PANEL * PANEL / 4; four += SOLVE_THREADS) {
                    const int m = four / (PANEL / 4), c = four % (PANEL / 4) * 4;
                    store(s.other + m * STRIDE + c, load(L + (long long)(before + m) * rows + panel + c));
                }
                __syncthreads();
                multiply<true, T, ROWS>(sum, s.tile, s.other, row, column);
            }
            __syncthreads();  // the last use of tile and other is over
#pragma unroll
            for (int j = 0; j < THREAD_COLUMNS; ++j) {
#pragma unroll
                for (int part = 0; part < ROWS / 64; ++part) {
                    const int i = 4 * part;
                    store(s.tile + (column + j) * ROWS + part * 64 + row,
                          Four<T>{sum[i][j], sum[i + 1][j], sum[i + 2][j], sum[i + 3][j]});
                }
            }
            __syncthreads();
            if (first == panel) {
                if (thread < WARP) {
                    const bool good = factorise(s, system.k - panel);
                    if (thread == 0) s.good = good;
                }
                __syncthreads();
                if (!s.good) return false;
            }
#pragma unroll
            for (int i = 0; i < ROWS / ROW_THREADS; ++i) {
#pragma unroll
                for (int j = 0; j < THREAD_COLUMNS; ++j) sum[i][j] = 0;
            }
            multiply<false, T, ROWS>(sum, s.tile, s.inverse, row, column);
#pragma unroll
            for (int part = 0; part < ROWS / 64; ++part) {
                const int r = part * 64 + row;
                if (first + r >= rows) continue;
#pragma unroll
                for (int j = 0; j < THREAD_COLUMNS; ++j) {
                    const int i = 4 * part;
                    Four<T> value = {sum[i][j], sum[i + 1][j], sum[i + 2][j], sum[i + 3][j]};
                    if (first == panel && r < PANEL) value = load(s.other + (column + j) * STRIDE + r);
                    store(L + (long long)(panel + column + j) * rows + first + r, value);
                }
            }
        }
    }
    __syncthreads();
    return true;
}

template <typename T, int ROWS>
__device__ void load_diagonal_block(SolveShared<T, ROWS>& s, const T* L, int rows, int panel) {
    for (int i = threadIdx.x; i < PANEL * PANEL; i += SOLVE_THREADS)
        s.other[i / PANEL * STRIDE + i % PANEL] = L[(long long)(panel + i / PANEL) * rows + panel + i % PANEL];
}

// Replace x by the solution z of L z = x; x must be set and is 0 from k on. Nothing follows its last barrier.
template <typename In, typename T, int ROWS>
__device__ void solve_forward(SolveShared<T, ROWS>& s, const System<In, T>& system, T* x) {
    const int thread = threadIdx.x;
    for (int panel = 0; panel < system.columns; panel += PANEL) {
        load_diagonal_block(s, system.L, system.rows, panel);
        __syncthreads();
        if (thread < WARP) {
            T own = x[panel + thread];
            for (int c = 0; c < PANEL && panel + c < system.k; ++c) {
                const T solved = __shfl_sync(ALL_LANES, own, c) / s.other[c * STRIDE + c];
                if (thread == c) own = solved;
                if (thread > c) own -= s.other[c * STRIDE + thread] * solved;
            }
            // Row k of L is no equation, so what has gathered there is dropped.
            x[panel + thread] = panel + thread < system.k ? own : 0;
        }
        __syncthreads();
        for (int i = panel + PANEL + thread; i < system.columns; i += SOLVE_THREADS) {
            T sum = 0;
            for (int c = 0; c < PANEL; ++c) sum += system.L[(long long)(panel + c) * system.rows + i] * x[panel + c];
            x[i] -= sum;
        }
    }
}

// Replace x by the solution w of L' w = x; x must be set, after a barrier, and is 0 from k on. Ends with a barrier.
template <typename In, typename T, int ROWS>
__device__ void solve_backward(SolveShared<T, ROWS>& s, const System<In, T>& system, T* x) {
    const int thread = threadIdx.x, lane = thread % WARP;
    for (int panel = system.columns - PANEL; panel >= 0; panel -= PANEL) {
        load_diagonal_block(s, system.L, system.rows, panel);
        for (int c = thread / WARP; c < PANEL; c += SOLVE_WARPS) {
            const T* const below = system.L + (long long)(panel + c) * system.rows;
            T sum = 0;
            for (int i = panel + PANEL + lane; i < system.columns; i += WARP) sum += below[i] * x[i];
            for (int step = WARP / 2; step > 0; step /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, step);
            if (lane == 0) x[panel + c] -= sum;
        }
        __syncthreads();
        if (thread < WARP) {
            T own = x[panel + thread];
            const int last = system.k - panel < PANEL ? system.k - panel - 1 : PANEL - 1;
            for (int c = last; c >= 0; --c) {
                const T solved = __shfl_sync(ALL_LANES, own, c) / s.other[c * STRIDE + c];
                if (thread == c) own = solved;
                if (thread < c) own -= s.other[thread * STRIDE + c] * solved;
            }
            x[panel + thread] = own;
        }
        __syncthreads();
    }
}

// r = rhs - (gram[S, S] + alpha I) x, each sum in double, and 0 from k on; one warp a row. A barrier must follow before
// r is read: the first of `solve_forward`.
template <typename In, typename T, int ROWS>
__device__ void residual(const SolveShared<T, ROWS>& s, const System<In, T>& system, double alpha, const T* x, T* r) {
    const int lane = threadIdx.x % WARP;
    for (int i = threadIdx.x / WARP; i < system.columns; i += SOLVE_WARPS) {
        double sum = 0;
        if (i < system.k) {
            const In* const own = system.gram + s.chosen[i] * system.n_voxels;
            for (int j = lane; j < system.k; j += WARP) sum += (double)own[s.chosen[j]] * (double)x[j];
            for (int step = WARP / 2; step > 0; step /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, step);
            sum = (double)system.rhs[i] - alpha * (double)x[i] - sum;
        }
        if (lane == 0) r[i] = (T)sum;
    }
}

// Whether x + r is finite and r is small against x. A barrier inside; the result is the same for all threads.
template <typename T, int ROWS> __device__ bool settled(SolveShared<T, ROWS>& s, int k, const T* x, const T* r) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    double size = 0, change = 0;
    for (int i = threadIdx.x; i < k; i += SOLVE_THREADS) {
        size += (double)x[i] * (double)x[i];
        change += (double)r[i] * (double)r[i];
    }
    for (int step = WARP / 2; step > 0; step /= 2) {
        size += __shfl_xor_sync(ALL_LANES, size, step);
        change += __shfl_xor_sync(ALL_LANES, change, step);
    }
    if (lane == 0) s.partial[warp] = size, s.partial[SOLVE_WARPS + warp] = change;
    __syncthreads();
    size = change = 0;
    for (int w = 0; w < SOLVE_WARPS; ++w) size += s.partial[w], change += s.partial[SOLVE_WARPS + w];
    return isfinite(size) && change <= MAX_CHANGE * MAX_CHANGE * size;  // false if change is NaN
}

// Solve the units whose status is `wanted`; where that fails the status becomes `failed`. Solutions of penalties below
// `refine_below` are corrected by their residual.
template <typename In, typename T, int ROWS>
__device__ void solve(SolveShared<T, ROWS>& s, const In* gram, long long n_voxels, const int* voxel, const In* rhs,
                      const double* alpha, int k, int n_units, double refine_below, int wanted, int failed, T* workspace,
                      In* weight, int* status) {
    const int thread = threadIdx.x;
    const int columns = (k + PANEL - 1) / PANEL * PANEL, rows = (k + PANEL) / PANEL * PANEL;
    T* const x = s.tile;
    T* const r = s.tile + MAX_VOXELS;
    for (int unit = blockIdx.x; unit < n_units; unit += gridDim.x) {
        // All read it before thread 0 may write it, after the barriers below.
        if (status[unit] != wanted) continue;
        const System<In, T> system = {gram, n_voxels, rhs + (long long)unit * k, (T)alpha[unit], k,
                                      workspace + (long long)blockIdx.x * columns * rows, rows, columns};
        for (int i = thread; i < k; i += SOLVE_THREADS) s.chosen[i] = voxel[(long long)unit * k + i];
        __syncthreads();
        bool good = factorise_all(s, system);
        if (good) {
            for (int i = thread; i < columns; i += SOLVE_THREADS) {
                x[i] = i < k ? system.L[(long long)i * rows + k] : 0;  // already solved forward, as row k
                r[i] = 0;
            }
            __syncthreads();
            solve_backward(s, system, x);
            if (alpha[unit] < refine_below) {
                residual(s, system, alpha[unit], x, r);
                solve_forward(s, system, r);
                solve_backward(s, system, r);
            }
            good = settled(s, k, x, r);
            for (int i = thread; i < k; i += SOLVE_THREADS) weight[(long long)unit * k + i] = (In)(x[i] + r[i]);
        }
        // No barrier here: the next unit sets `chosen`, which nobody reads any more, and meets one before x and r.
        if (thread == 0 && !good) status[unit] = failed;
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// predict: y_mean + y_scale * (bias + Z[:, voxel] weight)
// ---------------------------------------------------------------------------------------------------------------------

constexpr int PREDICT_THREADS = 256;
constexpr int PREDICT_WARPS = PREDICT_THREADS / WARP;

template <typename T> struct PredictShared {
    T predicted[WARP][WARP + 1];
};

// A block computes 32 items of 32 units: a warp a unit, a lane an item; then the results are turned, to be written
// unit by unit. `items` is (n_voxels, n_items). Sums of 32 products in T, their sum in double.
template <typename T>
__device__ void predict(PredictShared<T>& s, const T* items, int n_items, int n_voxels, const int* voxel,
                        const T* weight, const T* bias, const double* y_mean, const double* y_scale, int k, int n_units,
                        T* predicted) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int first_unit = blockIdx.x * WARP, first_item = blockIdx.y * WARP;
    const int item = first_item + lane < n_items ? first_item + lane : n_items - 1;  // the last lanes may repeat one
    for (int q = warp; q < WARP && first_unit + q < n_units; q += PREDICT_WARPS) {
        const long long unit = first_unit + q;
        double total = 0;
        for (int slot = 0; slot < k; slot += WARP) {
            int own_voxel = 0;
            T own_weight = 0;
            if (slot + lane < k && (unsigned)voxel[unit * k + slot + lane] < (unsigned)n_voxels) {  // else unused
                own_voxel = voxel[unit * k + slot + lane];
                own_weight = weight[unit * k + slot + lane];
            }
            T sum = 0;
#pragma unroll 8
            for (int from = 0; from < WARP; ++from) {
                const long long v = __shfl_sync(ALL_LANES, own_voxel, from);
                sum += __shfl_sync(ALL_LANES, own_weight, from) * items[v * n_items + item];
            }
            total += sum;
        }
        s.predicted[q][lane] = (T)(((double)bias[unit] + total) * y_scale[unit] + y_mean[unit]);
    }
    __syncthreads();
    const int unit = first_unit + lane;
    for (int q = warp; q < WARP && first_item + q < n_items; q += PREDICT_WARPS)
        if (unit < n_units) predicted[(long long)(first_item + q) * n_units + unit] = s.predicted[lane][q];
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------
// The kernels by type: data, then arithmetic
// ---------------------------------------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
select_float(const float* products, const unsigned char* usable, int n_voxels, int k, int* voxel, float* rhs) {
    __shared__ SelectShared shared;
    select(shared, products, usable, n_voxels, k, voxel, rhs);
}

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
select_double(const double* products, const unsigned char* usable, int n_voxels, int k, int* voxel, double* rhs) {
    __shared__ SelectShared shared;
    select(shared, products, usable, n_voxels, k, voxel, rhs);
}

extern "C" __global__ void __launch_bounds__(SOLVE_THREADS, 3)
solve_float(const float* gram, long long n_voxels, const int* voxel, const float* rhs, const double* alpha, int k,
            int n_units, double refine_below, int wanted, int failed, float* workspace, float* weight, int* status) {
    __shared__ SolveShared<float, 128> shared;
    solve(shared, gram, n_voxels, voxel, rhs, alpha, k, n_units, refine_below, wanted, failed, workspace, weight, status);
}

extern "C" __global__ void __launch_bounds__(SOLVE_THREADS, 2)
solve_float_in_double(const float* gram, long long n_voxels, const int* voxel, const float* rhs, const double* alpha,
                      int k, int n_units, double refine_below, int wanted, int failed, double* workspace, float* weight,
                      int* status) {
    __shared__ SolveShared<double, 64> shared;
    solve(shared, gram, n_voxels, voxel, rhs, alpha, k, n_units, refine_below, wanted, failed, workspace, weight, status);
}

extern "C" __global__ void __launch_bounds__(SOLVE_THREADS, 2)
solve_double(const double* gram, long long n_voxels, const int* voxel, const double* rhs, const double* alpha, int k,
             int n_units, double refine_below, int wanted, int failed, double* workspace, double* weight, int* status) {
    __shared__ SolveShared<double, 64> shared;
    solve(shared, gram, n_voxels, voxel, rhs, alpha, k, n_units, refine_below, wanted, failed, workspace, weight, status);
}

extern "C" __global__ void __launch_bounds__(PREDICT_THREADS)
predict_float(const float* items, int n_items, int n_voxels, const int* voxel, const float* weight, const float* bias,
              const double* y_mean, const double* y_scale, int k, int n_units, float* predicted) {
    __shared__ PredictShared<float> shared;
    predict(shared, items, n_items, n_voxels, voxel, weight, bias, y_mean, y_scale, k, n_units, predicted);
}

extern "C" __global__ void __launch_bounds__(PREDICT_THREADS)
predict_double(const double* items, int n_items, int n_voxels, const int* voxel, const double* weight,
               const double* bias, const double* y_mean, const double* y_scale, int k, int n_units, double* predicted) {
    __shared__ PredictShared<double> shared;
    predict(shared, items, n_items, n_voxels, voxel, weight, bias, y_mean, y_scale, k, n_units, predicted);
}
