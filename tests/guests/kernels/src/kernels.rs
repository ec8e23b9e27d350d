//! The kernels: plain Rust, which the guest compiles to WebAssembly and the benchmark to native
//! code, so that both do the same work.
//!
//! All except `bytes` compute with f64. `…-tiles` and `…-blocked` compute the same as the kernel
//! without this suffix, with other loops: the sums are equal up to rounding.

/// Rows and columns of the matrices.
const N: usize = 320;
/// Rows and columns of the block of the product that `matmul-blocked` computes at once.
const ROWS: usize = 4;
const COLUMNS: usize = 4;
/// The number of values that `gradient-blocked` takes from each vector in one iteration of its
/// loops, that is from one check to the next. It is small enough for the compiler to unroll the
/// whole iteration, so that there is no inner loop with its own checks.
const TURN: usize = 16;
/// The same for `dot-blocked`, which does less work per value.
const DOT_TURN: usize = 64;
/// The number of parallel sums in `dot-blocked`.
const LANES: usize = 8;
/// The length of the vectors of `dot`. Two of them fit into the L1 cache.
const LENGTH: usize = 2048;
/// How often `dot` is computed.
const DOTS: usize = 8192;
/// The number of rows of the data that a gradient is computed over, and of its features.
const SAMPLES: usize = 2048;
const FEATURES: usize = 64;
/// The number of samples that `gradient-blocked` takes at once.
const BATCH: usize = 4;
/// Steps of gradient descent.
const DESCENTS: usize = 64;
/// How often `bytes` hashes its bytes.
const PASSES: usize = 8;

/// A kernel: its name, its function, and its input.
pub(crate) type Kernel = fn(&Data) -> f64;

/// All kernels.
pub(crate) const KERNELS: [(&str, Kernel); 10] = [
    ("matmul", matmul),
    ("matmul-rows", matmul_rows),
    ("matmul-tiles", matmul_tiles),
    ("matmul-blocked", matmul_blocked),
    ("dot", dot),
    ("dot-blocked", dot_blocked),
    ("gradient", gradient),
    ("gradient-blocked", gradient_blocked),
    ("logistic", logistic),
    ("bytes", bytes),
];

/// Returns the input of the kernels: the same numbers every time, without special values.
pub(crate) struct Data {
    a: Vec<f64>,
    b: Vec<f64>,
    samples: Vec<f64>,
    targets: Vec<f64>,
    weights: Vec<f64>,
}

impl Data {
    pub(crate) fn new() -> Self {
        let mut state = 1_u32;
        let mut numbers = |count: usize| -> Vec<f64> {
            (0..count)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f64::from(state >> 8) / f64::from(1 << 24) - 0.5
                })
                .collect()
        };
        Self {
            a: numbers(N * N),
            b: numbers(N * N),
            samples: numbers(SAMPLES * FEATURES),
            targets: numbers(SAMPLES),
            weights: numbers(FEATURES),
        }
    }
}

fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

/// The straightforward implementation: row times column, for each entry of the product.
fn matmul(data: &Data) -> f64 {
    let mut c = vec![0.0; N * N];
    for (row, out) in data.a.chunks_exact(N).zip(c.chunks_exact_mut(N)) {
        for (j, out) in out.iter_mut().enumerate() {
            let mut entry = 0.0;
            for (k, a) in row.iter().enumerate() {
                entry += a * data.b[k * N + j];
            }
            *out = entry;
        }
    }
    sum(&c)
}

/// The loops in another order: it adds up rows of the second matrix, so that no value is carried
/// from one step of the innermost loop to the next.
fn matmul_rows(data: &Data) -> f64 {
    let mut c = vec![0.0; N * N];
    for (row, out) in data.a.chunks_exact(N).zip(c.chunks_exact_mut(N)) {
        for (a, other) in row.iter().zip(data.b.chunks_exact(N)) {
            for (out, b) in out.iter_mut().zip(other) {
                *out += a * b;
            }
        }
    }
    sum(&c)
}

/// The same in tiles of 32 by 32: the compiler knows the length of the innermost loop, and unrolls
/// it completely.
fn matmul_tiles(data: &Data) -> f64 {
    const TILE: usize = 32;
    let mut c = vec![0.0; N * N];
    for k in (0..N).step_by(TILE) {
        for j in (0..N).step_by(TILE) {
            for (row, out) in data.a.chunks_exact(N).zip(c.chunks_exact_mut(N)) {
                let out = &mut out[j..j + TILE];
                for (step, a) in row[k..k + TILE].iter().enumerate() {
                    let other = &data.b[(k + step) * N + j..][..TILE];
                    for (out, b) in out.iter_mut().zip(other) {
                        *out += a * b;
                    }
                }
            }
        }
    }
    sum(&c)
}

/// Computes four rows by four columns of the product at once; the sums stay in registers for four
/// steps.
fn matmul_blocked(data: &Data) -> f64 {
    let mut c = vec![0.0; N * N];
    // Copies the values so that they are adjacent in the order in which they are used.
    let (mut left, mut right) = (vec![[0.0; ROWS]; N], vec![[0.0; COLUMNS]; N]);
    for j in (0..N).step_by(COLUMNS) {
        for (to, from) in right.iter_mut().zip(data.b.chunks_exact(N)) {
            to.copy_from_slice(&from[j..j + COLUMNS]);
        }
        for i in (0..N).step_by(ROWS) {
            for (k, to) in left.iter_mut().enumerate() {
                *to = std::array::from_fn(|row| data.a[(i + row) * N + k]);
            }
            for (row, entries) in product(&left, &right).into_iter().enumerate() {
                c[(i + row) * N + j..][..COLUMNS].copy_from_slice(&entries);
            }
        }
    }
    sum(&c)
}

fn product(left: &[[f64; ROWS]], right: &[[f64; COLUMNS]]) -> [[f64; COLUMNS]; ROWS] {
    let mut entries = [[0.0; COLUMNS]; ROWS];
    let (left, _) = left.as_chunks::<4>();
    let (right, _) = right.as_chunks::<4>();
    // Written out, because the compiler would keep a loop, with a check in each step.
    for ([l0, l1, l2, l3], [r0, r1, r2, r3]) in left.iter().zip(right) {
        add_products(&mut entries, l0, r0);
        add_products(&mut entries, l1, r1);
        add_products(&mut entries, l2, r2);
        add_products(&mut entries, l3, r3);
    }
    entries
}

#[inline(always)]
fn add_products(entries: &mut [[f64; COLUMNS]; ROWS], left: &[f64; ROWS], right: &[f64; COLUMNS]) {
    for (entries, left) in entries.iter_mut().zip(left) {
        for (entry, right) in entries.iter_mut().zip(right) {
            *entry += left * right;
        }
    }
}

/// A sequential sum of products.
fn dot_of(x: &[f64], y: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (x, y) in x.iter().zip(y) {
        sum += x * y;
    }
    sum
}

/// Eight parallel sums, 64 products in each iteration of the loop.
fn dot_of_blocks(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (x, x_rest) = x.as_chunks::<DOT_TURN>();
    let (y, y_rest) = y.as_chunks::<DOT_TURN>();
    for (x, y) in x.iter().zip(y) {
        for at in (0..DOT_TURN).step_by(LANES) {
            for lane in 0..LANES {
                sums[lane] += x[at + lane] * y[at + lane];
            }
        }
    }
    sum(&sums) + dot_of(x_rest, y_rest)
}

fn dots(data: &Data, dot: impl Fn(&[f64], &[f64]) -> f64) -> f64 {
    let (x, y) = (&data.a[..LENGTH], &data.b[..LENGTH]);
    (0..DOTS).map(|_| dot(std::hint::black_box(x), y)).sum()
}

fn dot(data: &Data) -> f64 {
    dots(data, dot_of)
}

fn dot_blocked(data: &Data) -> f64 {
    dots(data, dot_of_blocks)
}

/// Gradient descent. `add_slopes` adds the gradient at the given weights to a vector of zeros.
fn descend(data: &Data, add_slopes: impl Fn(&[f64], &mut [f64])) -> f64 {
    let mut weights = data.weights.clone();
    for _ in 0..DESCENTS {
        let mut slopes = vec![0.0; FEATURES];
        add_slopes(&weights, &mut slopes);
        for (weight, slope) in weights.iter_mut().zip(slopes) {
            *weight -= 0.1 / 2048.0 * slope;
        }
    }
    sum(&weights)
}

/// A linear model, the straightforward implementation: sample by sample.
fn gradient(data: &Data) -> f64 {
    descend(data, |weights, slopes| {
        for (sample, target) in data.samples.chunks_exact(FEATURES).zip(&data.targets) {
            let error = dot_of(sample, weights) - target;
            for (slope, x) in slopes.iter_mut().zip(sample) {
                *slope += error * x;
            }
        }
    })
}

/// The same for four samples at once, and 16 features in each iteration of the adding loop.
fn gradient_blocked(data: &Data) -> f64 {
    descend(data, |weights, slopes| {
        let (targets, _) = data.targets.as_chunks::<BATCH>();
        for (batch, targets) in data.samples.chunks_exact(BATCH * FEATURES).zip(targets) {
            let samples: [&[f64]; BATCH] = std::array::from_fn(|n| &batch[n * FEATURES..][..FEATURES]);
            let errors: [f64; BATCH] = std::array::from_fn(|n| dot_of_blocks(samples[n], weights) - targets[n]);
            let [a, b, c, d] = samples.map(|sample| sample.as_chunks::<TURN>().0);
            for ((((slopes, a), b), c), d) in slopes.as_chunks_mut::<TURN>().0.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                for n in 0..TURN {
                    slopes[n] += (errors[0] * a[n] + errors[1] * b[n]) + (errors[2] * c[n] + errors[3] * d[n]);
                }
            }
        }
    })
}

/// A logistic model: one `exp` per sample, which is compiled into the guest.
fn logistic(data: &Data) -> f64 {
    descend(data, |weights, slopes| {
        for (sample, target) in data.samples.chunks_exact(FEATURES).zip(&data.targets) {
            let error = 1.0 / (1.0 + (-dot_of(sample, weights)).exp()) - target;
            for (slope, x) in slopes.iter_mut().zip(sample) {
                *slope += error * x;
            }
        }
    })
}

/// No floating-point numbers: a checksum (FNV-1a) over the bytes of the matrices.
fn bytes(data: &Data) -> f64 {
    let bytes: Vec<u8> = data.a.iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut hash = 0x811c_9dc5_u32;
    for _ in 0..PASSES {
        for byte in &bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
    f64::from(hash)
}
