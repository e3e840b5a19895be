//! Every short interleaving, and many long ones, of what builders, a clock and people do, against a plain model.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Submit,
    Claim(usize),
    Renew(usize),
    Finish(usize),
    Fail(usize),
    Return(usize),
    Pass(i64),
    Cancel,
    Retry,
}

/// What a builder believes to have.
type Believed = Option<(JobId, u32)>;

/// One job of the model.
#[derive(Default)]
struct Model {
    submitted: bool,
    state: &'static str,
    attempts: u32,
    left: u32,
    /// The running attempt: number, when its lease is over.
    running: Option<(u32, i64)>,
    accepted: Vec<u32>,
}

impl Model {
    fn use_up(&mut self) {
        self.left -= 1;
        self.state = if self.left == 0 { "failed" } else { "open" };
        self.running = None;
    }

    fn is_running(&self, attempt: u32) -> bool {
        self.running.is_some_and(|(running, _)| running == attempt)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

/// Takes `steps` with a job of its own, and leaves nothing to claim.
async fn run(place: &Place, centre: &SqliteCentre, id: JobId, steps: &[Step]) {
    const LEASE: i64 = 1_000;
    let mut held: [Believed; 3] = [None; 3];
    let mut model = Model::default();
    let mut now = 0_i64;
    let mut request = id.0 << 32;
    for step in steps {
        match *step {
            Step::Submit => {
                centre.submit(&job(id.0)).await.unwrap();
                if !model.submitted {
                    (model.submitted, model.state, model.left) = (true, "open", 3);
                }
            }
            Step::Claim(who) => {
                request += 1;
                let claimed = centre.claim(&builder("x"), JobId(request)).await.unwrap();
                if model.running.is_some_and(|(_, over)| over <= now) {
                    model.use_up();
                }
                if model.state == "open" {
                    model.attempts += 1;
                    model.state = "running";
                    model.running = Some((model.attempts, now + LEASE));
                    let claimed = claimed.expect("an open job is claimed");
                    assert_eq!(claimed.attempt, model.attempts);
                    held[who] = Some((id, claimed.attempt));
                } else {
                    assert_eq!(claimed, None);
                }
            }
            Step::Renew(who) => {
                let Some((job, attempt)) = held[who] else {
                    continue;
                };
                let progress = Progress {
                    steps: 1,
                    checkpoint: None,
                };
                let renewed = centre.renew(job, attempt, &progress).await.unwrap();
                assert_eq!(renewed == Held::Yes, model.is_running(attempt));
                if renewed == Held::Yes {
                    model.running = Some((attempt, now + LEASE));
                }
            }
            Step::Finish(who) | Step::Fail(who) | Step::Return(who) => {
                let Some((job, attempt)) = held[who] else {
                    continue;
                };
                let outcome = match step {
                    Step::Finish(_) => done("x"),
                    Step::Return(_) => Outcome::Returned,
                    _ => Outcome::Failed {
                        reason: "no".into(),
                        is_final: false,
                    },
                };
                let was_running = model.is_running(attempt);
                let ended = centre.finish(job, attempt, &outcome).await.unwrap();
                if was_running {
                    assert_eq!(ended, Ended::Accepted);
                    match step {
                        Step::Finish(_) => {
                            model.accepted.push(attempt);
                            model.state = "done";
                            model.running = None;
                        }
                        Step::Return(_) => {
                            model.state = "open";
                            model.running = None;
                        }
                        _ => model.use_up(),
                    }
                    held[who] = None;
                } else {
                    assert_eq!(ended, Ended::Lost);
                }
            }
            Step::Pass(ms) => {
                now += ms;
                place.pass(ms);
            }
            Step::Cancel => {
                let cancelled = centre.cancel(id).await.unwrap();
                if matches!(model.state, "open" | "running") {
                    model.state = "cancelled";
                    model.running = None;
                }
                assert_eq!(cancelled, model.state == "cancelled");
            }
            Step::Retry => {
                centre.retry(id).await.unwrap();
                if matches!(model.state, "failed" | "cancelled") {
                    (model.state, model.left) = ("open", 3);
                }
            }
        }
        let there = centre.job(id).await.unwrap();
        assert_eq!(there.is_some(), model.submitted);
        let Some(there) = there else { continue };
        assert_eq!(there.state.as_str(), model.state, "after {step:?}");
        let running = there.attempts.iter().filter(|a| a.ending.is_none()).count();
        assert_eq!(running, usize::from(model.running.is_some()));
        let done = there
            .attempts
            .iter()
            .filter(|a| a.ending.as_deref() == Some("done"));
        let done: Vec<u32> = done.map(|attempt| attempt.number).collect();
        assert_eq!(done, model.accepted);
        assert!(model.accepted.len() <= 1, "one result at most");
        assert_eq!(there.result.is_some(), model.accepted.len() == 1);
    }
    centre.cancel(id).await.unwrap();
}

#[test]
fn no_order_of_what_two_builders_and_the_clock_do_gives_a_job_two_results() {
    let moves = [
        Step::Claim(0),
        Step::Claim(1),
        Step::Renew(0),
        Step::Finish(0),
        Step::Finish(1),
        Step::Pass(1_000),
    ];
    let (runtime, place) = (runtime(), Place::new());
    let centre = place.centre();
    let depth = 4;
    for order in 0..moves.len().pow(depth) {
        let mut steps = vec![Step::Submit, Step::Claim(0)];
        let mut rest = order;
        for _ in 0..depth {
            steps.push(moves[rest % moves.len()].clone());
            rest /= moves.len();
        }
        let id = JobId(order as u128 + 1);
        runtime.block_on(run(&place, &centre, id, &steps));
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Submit),
        4 => (0..3_usize).prop_map(Step::Claim),
        2 => (0..3_usize).prop_map(Step::Renew),
        2 => (0..3_usize).prop_map(Step::Finish),
        2 => (0..3_usize).prop_map(Step::Fail),
        1 => (0..3_usize).prop_map(Step::Return),
        3 => prop_oneof![Just(1), Just(400), Just(999), Just(1_000), Just(2_000)].prop_map(Step::Pass),
        1 => Just(Step::Cancel),
        1 => Just(Step::Retry),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn claims_behave_like_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        let place = Place::new();
        let centre = place.centre();
        runtime().block_on(run(&place, &centre, JobId(1), &steps));
    }
}
