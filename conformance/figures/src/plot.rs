//! A drawing: for each row how many times less time or memory ours takes than the peer, on a logarithmic scale, with the aim as a mark.

use std::fmt::Write as _;

use crate::measure::Outcome;

const LEFT: f64 = 440.0;
const WIDTH: f64 = 460.0;
const LINE: f64 = 24.0;
/// The scale's ends.
const LEAST: f64 = 0.5;
const MOST: f64 = 500.0;

fn x(ratio: f64) -> f64 {
    let at = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + at * WIDTH
}

pub fn svg(outcomes: &[&Outcome]) -> String {
    let rows: Vec<_> = outcomes.iter().filter_map(|row| Some((*row, row.to_peer()?))).collect();
    let bottom = 50.0 + LINE * rows.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">How many times less time or memory than the peer (mark: the aim)</text>\n",
        LEFT + WIDTH + 60.0,
        bottom + 24.0
    );
    for tick in [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0] {
        let at = x(tick);
        let colour = if tick == 1.0 { "#888" } else { "#ddd" };
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"36\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{tick}</text>",
            bottom + 16.0
        );
    }
    for (at, (row, ratio)) in rows.iter().enumerate() {
        let y = 40.0 + LINE * at as f64;
        let (from, to) = (x(1.0).min(x(*ratio)), x(1.0).max(x(*ratio)));
        let colour = if row.meets_aims() == Some(false) { "#c66" } else { "#47a" };
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{ratio:.1}</text>",
            LEFT - 6.0,
            y + 12.5,
            row.name,
            (to - from).max(1.0),
            to + 4.0,
            y + 12.5,
        );
        // An aim that is a number is as many times the peer's.
        let aim = row.aim_peer.or_else(|| Some(row.peer.as_ref()?.1 / row.aim_value?));
        if let Some(aim) = aim {
            let at = x(aim);
            let _ = write!(
                svg,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#000\" stroke-width=\"2\"/>",
                y - 2.0,
                y + 18.0
            );
        }
        svg.push('\n');
    }
    svg.push_str("</svg>\n");
    svg
}
