use proptest::prelude::*;

use super::*;

fn numbers(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|x| (x * step % 23) as f32 - 11.0).collect()
}

proptest! {
    #[test]
    fn any_shape_turned_or_not_is_the_sum_of_products(
        (m, k, n) in (1usize..40, 1usize..40, 1usize..70),
        (a_turned, b_turned, has_first) in any::<(bool, bool, bool)>(),
    ) {
        let (a, b, first) = (numbers(m * k, 7), numbers(k * n, 5), numbers(n, 3));
        let view = |data, rows, columns, is_turned| if is_turned {
            Matrix::new(data, rows).turned()
        } else {
            Matrix::new(data, columns)
        };
        let at = |data: &[f32], (rows, columns), is_turned, row, column| data[if is_turned {
            column * rows + row
        } else {
            row * columns + column
        }];
        let mut found = vec![3.0; m * n];
        let first = has_first.then_some(&*first);
        let mut multiplier = Multiplier { left: vec![9.0; 50], right: Vec::new() };
        multiplier.put(view(&a, m, k, a_turned), view(&b, k, n, b_turned), first, &mut found);
        for row in 0..m {
            for column in 0..n {
                let products = (0..k).map(|inner| {
                    at(&a, (m, k), a_turned, row, inner) * at(&b, (k, n), b_turned, inner, column)
                });
                let expected = products.sum::<f32>() + first.map_or(0.0, |first| first[column]);
                // Whole numbers: exact in whatever order.
                prop_assert_eq!(found[row * n + column], expected);
            }
        }
    }

    #[test]
    fn instructions_of_any_width_give_the_same_bits(
        (m, k, n) in (1usize..20, 1usize..40, 1usize..60),
        seed: u64,
    ) {
        let mut random = super::super::random::Random::new(seed, 0);
        let mut numbers = |count| (0..count).map(|_| random.uniform(1.0)).collect::<Vec<_>>();
        let (left, right, first) = (numbers(k * m), numbers(k * n), numbers(n));
        let product = |run: &dyn Fn(Product<'_>)| {
            let mut to = vec![0.0; m * n];
            run(Product {
                left: &left,
                rows: m,
                right: &right,
                columns: n,
                first: Some(&first),
                to: &mut to,
            });
            to
        };
        let expected = |is_fused: bool| (0..m * n).map(|at| {
            (0..k).fold(first[at % n], |sum, inner| {
                let (a, b) = (left[inner * m + at / n], right[inner * n + at % n]);
                if is_fused { a.mul_add(b, sum) } else { a * b + sum }
            })
        }).collect::<Vec<_>>();
        let is_fused = Arch::new().dispatch(IsFused);
        prop_assert_eq!(product(&|it| Arch::new().dispatch(it)), expected(is_fused));
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V3::try_new() {
            prop_assert_eq!(product(&|it| Simd::vectorize(simd, it)), expected(true));
        }
        let plain = product(&|it| Simd::vectorize(pulp::Scalar, it));
        prop_assert_eq!(plain, expected(false));
    }
}

struct IsFused;

impl WithSimd for IsFused {
    type Output = bool;

    fn with_simd<S: Simd>(self, _: S) -> bool {
        S::F32_LANES > 1
    }
}
