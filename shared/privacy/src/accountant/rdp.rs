//! Rényi differential privacy (Mironov 2017) of the Poisson-subsampled Gaussian mechanism.
//!
//! Divergences are computed at any real order by quadrature of a positive integrand, so that small ones keep their
//! relative precision. Looser than [`super::pld`] but valid for every δ, and what chooses its window.

/// Deviations from its humps at which the integrand, below 1e-36 of them, is cut off.
const REACH: f64 = 13.0;

/// Quadrature points per min(σ, σ²). The integrand is analytic within πσ² of the real line and grows there, up to a
/// distance of 2·min(σ, σ²), by less than e², so that the trapezoidal rule errs by less than exp(2 − 2π · 2 · 8) of it
/// (Trefethen and Weideman 2014, Theorem 5.1).
const POINTS: f64 = 8.0;

/// The logarithms of λ = order − 1 that [`best`] searches between: 0.01 and 100 000.
const LOG_LAMBDA: (f64, f64) = (-4.605_170_185_988_091, 11.512_925_464_970_229);

/// An order, the Rényi divergence there, and the ε that the two prove.
#[derive(Debug, Clone, Copy)]
pub struct Optimum {
    /// The order α, above 1.
    pub order: f64,
    /// The Rényi divergence of that order.
    pub divergence: f64,
    /// ε, at least 0.
    pub epsilon: f64,
}

/// The least ε at `delta` that `divergence`, a function of the order, proves: by golden-section search over the order.
/// Every order's ε is valid, so that a search that ends beside the least is loose, not wrong.
pub fn best(divergence: impl Fn(f64) -> f64, delta: f64) -> Optimum {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    const PROBES: u32 = 32;
    let at = |log_lambda: f64| {
        let lambda = log_lambda.exp();
        let divergence = divergence(1.0 + lambda);
        let epsilon = convert(lambda, divergence, delta);
        let epsilon = if epsilon.is_nan() { f64::INFINITY } else { epsilon };
        (Optimum { order: 1.0 + lambda, divergence, epsilon }, log_lambda)
    };
    let (mut low, mut high) = LOG_LAMBDA;
    let mut left = at(high - GOLDEN * (high - low));
    let mut right = at(low + GOLDEN * (high - low));
    for _ in 0..PROBES {
        if left.0.epsilon <= right.0.epsilon {
            (high, right) = (right.1, left);
            left = at(high - GOLDEN * (high - low));
        } else {
            (low, left) = (left.1, right);
            right = at(low + GOLDEN * (high - low));
        }
    }
    let found = if left.0.epsilon <= right.0.epsilon { left.0 } else { right.0 };
    Optimum { epsilon: found.epsilon.max(0.0), ..found }
}

/// ε from the Rényi divergence of order 1 + `lambda`: Proposition 12 of Canonne, Kamath and Steinke, "The Discrete
/// Gaussian for Differential Privacy" (2020). May be negative.
fn convert(lambda: f64, divergence: f64, delta: f64) -> f64 {
    divergence - (1.0 / lambda).ln_1p() - (delta.ln() + lambda.ln_1p()) / lambda
}

/// The Rényi divergence of order `order` > 1 of one release of the Poisson-subsampled Gaussian mechanism, sensitivity 1.
///
/// With μ₀ = N(0, σ²), μ₁ = N(1, σ²) and the ratio r = 1 − q + q μ₁/μ₀, it is ln(E r^α)/(α − 1) under μ₀, which bounds
/// both directions (Mironov, Talwar and Zhang 2019, Theorem 5). As E r = 1, E r^α − 1 = E[r^α − 1 − α(r − 1)], whose
/// integrand is nowhere negative.
pub fn subsampled_gaussian(noise_multiplier: f64, sampling_rate: f64, order: f64) -> f64 {
    let variance = noise_multiplier * noise_multiplier;
    let step = noise_multiplier.min(variance) / POINTS;
    let (from, to) = (-REACH * noise_multiplier, order + REACH * noise_multiplier);
    let points = std::iter::successors(Some(from), |x| Some(x + step)).take_while(|x| *x <= to);
    let log_terms = points.map(|x| {
        let log_ratio = log_mixture_ratio(sampling_rate, (2.0 * x - 1.0) / (2.0 * variance));
        log_excess(order, log_ratio) - x * x / (2.0 * variance)
    });
    let weight = step / (noise_multiplier * (2.0 * std::f64::consts::PI).sqrt());
    log_one_plus_exp(log_sum_exp(log_terms) + weight.ln()) / (order - 1.0)
}

/// ln(1 − q + q e^v).
pub(super) fn log_mixture_ratio(q: f64, v: f64) -> f64 {
    if v > 30.0 { v + q.ln() + ((1.0 - q) / q * (-v).exp()).ln_1p() } else { (q * v.exp_m1()).ln_1p() }
}

/// ln(r^α − 1 − α(r − 1)) for ln r = `log_ratio`, in the form that cancels least.
fn log_excess(order: f64, log_ratio: f64) -> f64 {
    let (change, exponent) = (log_ratio.exp_m1(), order * log_ratio);
    if (order * change).abs() < 1e-4 {
        let quadratic = order * (order - 1.0) / 2.0 * change * change;
        (quadratic * (1.0 + (order - 2.0) * change / 3.0)).ln()
    } else if exponent < 1.0 {
        (exponent.exp_m1() - order * change).ln()
    } else {
        exponent + (-((1.0 - order) * (-exponent).exp() + order * (log_ratio - exponent).exp())).ln_1p()
    }
}

fn log_sum_exp(terms: impl Iterator<Item = f64>) -> f64 {
    let add = |(most, sum): (f64, f64), term: f64| {
        if term <= most { (most, sum + (term - most).exp()) } else { (term, sum * (most - term).exp() + 1.0) }
    };
    let (most, sum) = terms.filter(|term| *term > f64::NEG_INFINITY).fold((f64::NEG_INFINITY, 0.0), add);
    most + sum.ln()
}

fn log_one_plus_exp(y: f64) -> f64 {
    if y > 0.0 { y + (-y).exp().ln_1p() } else { y.exp().ln_1p() }
}
