use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn two_take_overs_within_a_minute_are_no_accident() {
    let (mut rivals, start) = (Rivals::default(), Instant::now());
    let mut taken_over = |after_s| {
        rivals.ended(
            &LinkProblem::TakenOver,
            SECOND * 30,
            start + SECOND * after_s,
        )
    };
    assert_eq!(taken_over(0), None);
    assert_eq!(taken_over(61), None, "an agent that was started anew");
    assert_eq!(taken_over(100), Some(Suspicion::Sure));
    assert!(rivals.are_about(start + SECOND * 600));
    assert!(!rivals.are_about(start + SECOND * 701));
}

#[test]
fn connections_that_end_soon_again_and_again_are_suspicious() {
    let (mut rivals, start) = (Rivals::default(), Instant::now());
    for (problem, lasted_s) in [
        (LinkProblem::Closed, 1),
        (LinkProblem::Closed, 21),
        (LinkProblem::Silent, 1),
        (LinkProblem::Disconnected("ServerShuttingDown".into()), 1),
        (LinkProblem::Io(io::ErrorKind::ConnectionReset.into()), 2),
    ] {
        assert_eq!(rivals.ended(&problem, SECOND * lasted_s, start), None);
    }
    let third = rivals.ended(&LinkProblem::Closed, SECOND, start + SECOND * 59);
    assert_eq!(third, Some(Suspicion::Likely));
}

#[test]
fn a_broker_that_restarts_often_is_no_rival() {
    let (mut rivals, start) = (Rivals::default(), Instant::now());
    for restart in 0..5 {
        let end = rivals.ended(&LinkProblem::Closed, SECOND, start + SECOND * restart);
        assert_eq!(end, None);
        rivals.turned_away();
    }
    let mut taken_over = || rivals.ended(&LinkProblem::TakenOver, SECOND, start + SECOND * 6);
    assert_eq!(taken_over(), None);
    assert_eq!(taken_over(), Some(Suspicion::Sure));
}

#[test]
fn it_is_said_once_an_hour() {
    let (mut rivals, start) = (Rivals::default(), Instant::now());
    let said = (0..7_200).filter(|s| rivals.may_say(start + SECOND * *s));
    assert_eq!(said.count(), 2);
}
