use bench_results::Unit;

use super::*;

fn series() -> Vec<Series> {
    let one = |label: &str, slot, emulated| Series { label: label.to_owned(), slot, emulated };
    vec![one("native", 0, false), one("container", 1, false), one("vm (TCG emulation)", 2, true)]
}

fn bars(values: [f64; 3]) -> Bars {
    let bar = |value| Some(Bar { value, whisker: Some((value, f64::INFINITY)), dots: vec![(1, value), (2, value)] });
    let groups = vec![BarGroup { label: "rand-read".to_owned(), bars: values.map(bar).into() }];
    let (heading, remark, quantity) = ("this run".to_owned(), String::new(), "IOPS".to_owned());
    let panels = vec![BarPanel { heading, remark, quantity, unit: Unit::NsPerIo, series: None, groups }];
    Bars { series: series(), panels }
}

fn answer(marks: Vec<Option<AnswerMark>>) -> Answer {
    let row = AnswerRow {
        label: "a\u{0}b\u{1b}".repeat(400),
        metric: String::new(),
        better: bench_results::Direction::Lower,
        marks,
        apart: vec!["0.01×".to_owned()],
        noise: Some((f64::MIN_POSITIVE, 1e300)),
    };
    let column = Column { heading: "vm (TCG emulation)".to_owned(), remark: "not judged".to_owned() };
    let (base, series) = ("native".to_owned(), series()[1..2].to_vec());
    Answer { base, series, apart: vec![column], margin: Some(0.1), hollow: None, rows: vec![row] }
}

fn curves(points: &[(f64, f64)], tail: bool) -> Curves {
    let curve = |series: Series| Curve { series, points: points.to_vec() };
    let curves = series().into_iter().map(curve).collect();
    let panel = CurvePanel { heading: String::new(), remark: String::new(), curves };
    Curves { series: series(), panels: vec![panel], tail }
}

fn drawn(drawing: Drawing) -> String {
    let figure = Figure { name: "test", title: "<&>".to_owned(), caption: String::new(), drawing };
    figure.table();
    let folder = tempfile::tempdir().unwrap();
    figure.write_png(&folder.path().join("test.png")).unwrap();
    figure.svg().unwrap()
}

#[test]
fn extreme_values_are_drawn_without_a_panic() {
    let mark = |ratio, low, high| {
        Some(AnswerMark { ratio, interval: Some((low, high)), blocks: vec![ratio, 1e-300, 1e300], paper: None })
    };
    for mark in [None, mark(1.0, 1.0, 1.0), mark(1e-9, 1e-300, 1e300), mark(f64::NAN, f64::NAN, f64::INFINITY)] {
        drawn(Drawing::Answer(answer(vec![mark])));
    }
    for values in [[0.0; 3], [f64::NAN, 1.0, 1.0], [1e-300, 1e300, 1.0], [-1.0, 0.0, f64::INFINITY]] {
        drawn(Drawing::Bars(bars(values)));
    }
    for points in [&[][..], &[(0.0, 0.5)], &[(1.0, 0.0), (1.0, 1.0)], &[(1.0, 0.5), (1e18, 1.0)]] {
        drawn(Drawing::Curves(curves(points, false)));
        drawn(Drawing::Curves(curves(points, true)));
    }
    let span = |p50| Some(Span { p50, p99: None, p999: Some(1e18) });
    let spans = vec![None, span(0.0), span(1.0)];
    let row = SpanRow { label: String::new(), direction: "read".to_owned(), spans };
    drawn(Drawing::Spans(Spans { series: series(), rows: vec![row] }));
    drawn(Drawing::Spans(Spans { series: Vec::new(), rows: Vec::new() }));
}

#[test]
fn a_far_away_emulated_guest_is_cut_and_another_bar_is_not() {
    let note = "goes on beyond the axis";
    assert!(drawn(Drawing::Bars(bars([6.0, 6.1, 400.0]))).contains(note));
    assert!(!drawn(Drawing::Bars(bars([6.0, 400.0, 6.1]))).contains(note));
    assert!(!drawn(Drawing::Bars(bars([6.0, 6.1, 12.0]))).contains(note));
}

#[test]
fn text_of_a_figure_is_escaped_and_without_control_characters() {
    let svg = drawn(Drawing::Answer(answer(vec![None])));
    assert!(svg.contains("&lt;&amp;&gt;"));
    assert!(!svg.chars().any(|c| c.is_control() && c != '\n'));
}

#[test]
fn a_page_gets_roles_instead_of_colours() {
    let drawing = Drawing::Bars(bars([1.0, 1.0, 1.0]));
    let figure = Figure { name: "test", title: String::new(), caption: String::new(), drawing };
    let svg = figure.inline_svg().unwrap();
    assert!(!svg.contains("\"#"), "a colour without a role: {svg}");
    assert!(svg.contains("var(--environment-2)") && svg.contains("var(--ink)"));
}
