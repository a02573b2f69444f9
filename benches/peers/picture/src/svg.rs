//! The picture: a bar for each contestant, its length the ratio to the limit.

use std::fmt::Write as _;

use crate::{Kind, Results, Row, results::three_digits};

const WIDTH: f64 = 720.0;
/// Where the bars begin; the names end before it.
const LEFT: f64 = 330.0;
/// The length of a bar with the ratio 1.
const UNIT: f64 = 82.0;
/// A longer bar is shortened to this ratio, and has a gap.
const LONGEST: f64 = 4.0;
/// The top of the first bar, and the distance of two bars.
const TOP: f64 = 76.0;
const STEP: f64 = 23.0;
const BAR: f64 = 15.0;

/// Returns the picture, as an image and for pages of rustdoc: there the text has the colour of the page.
#[must_use]
pub fn draw(results: &Results) -> String {
    let mut rows: Vec<(&Row, f64)> = results
        .rows
        .iter()
        .filter(|row| row.kind != Kind::Bound)
        .filter_map(|row| row.ratio.map(|ratio| (row, ratio)))
        .collect();
    rows.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    let end = rows.iter().fold(TOP, |top, _| top + STEP);
    let mut svg = head(&rows, end + 52.0);
    let limit = LEFT + UNIT;
    let _ = write!(
        svg,
        "<text x=\"12\" y=\"26\" font-size=\"15\" font-weight=\"700\">Time of a request, relative to its signature \
         check</text>\n\
         <text x=\"12\" y=\"45\">{}, in-process. Shorter is faster.</text>\n\
         <text x=\"{limit}\" y=\"{}\" text-anchor=\"middle\">1.00: the limit</text>\n",
        escape(&results.token),
        TOP - 10.0,
    );
    let mut top = TOP;
    for (row, ratio) in rows {
        bar(&mut svg, row, ratio, top);
        top += STEP;
    }
    let _ = write!(
        svg,
        "<path d=\"M{limit} {}V{end}\" fill=\"none\" stroke=\"currentColor\" stroke-dasharray=\"4 3\"/>\n\
         <g font-size=\"11\">\n\
         <text x=\"12\" y=\"{}\">The limit: a bare axum route and one signature check with a parsed key. A bar with a gap \
         is shortened.</text>\n\
         <text x=\"12\" y=\"{}\">Recorded on {} on {} by benches/peers/run.</text>\n\
         </g>\n</g>\n</svg>\n",
        TOP - 5.0,
        end + 20.0,
        end + 37.0,
        escape(&results.date),
        escape(&results.machine),
    );
    svg
}

/// Returns everything before the content. Only the style differs between the two uses.
fn head(rows: &[(&Row, f64)], height: f64) -> String {
    let described: Vec<String> =
        rows.iter().map(|(row, ratio)| format!("{} {}", row.name, three_digits(*ratio))).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"tower-oauth-performance\" role=\"img\" viewBox=\"0 0 {WIDTH} \
         {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <title>Time of a request, relative to its signature check</title>\n\
         <desc>{}.</desc>\n\
         <style>\n\
         #tower-oauth-performance{{color:#1f2328;max-width:100%;height:auto}}\n\
         #tower-oauth-performance .back{{fill:#fff}}\n\
         @media (prefers-color-scheme:dark){{\n\
         #tower-oauth-performance{{color:#e6edf3}}\n\
         #tower-oauth-performance .back{{fill:#161b22}}\n\
         }}\n\
         [data-theme] #tower-oauth-performance{{color:inherit}}\n\
         [data-theme] #tower-oauth-performance .back{{fill:none}}\n\
         </style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"none\"/>\n\
         <g font-family=\"system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif\" font-size=\"12\" \
         fill=\"currentColor\">\n",
        escape(&described.join(",\n"))
    )
}

fn bar(svg: &mut String, row: &Row, ratio: f64, top: f64) {
    let length = ratio.min(LONGEST) * UNIT;
    let (fill, weight) =
        if row.kind == Kind::Ours { ("#2f81f7", "700") } else { ("currentColor\" fill-opacity=\".4", "400") };
    let base = top + BAR - 3.0;
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\" font-weight=\"{weight}\">{}</text>",
        LEFT - 8.0,
        escape(&row.name)
    );
    let mut piece = |from: f64, to: f64| {
        let (x, width) = (LEFT + from, to - from);
        let _ = writeln!(svg, "<rect x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{fill}\"/>");
    };
    if ratio > LONGEST {
        piece(0.0, length - 20.0);
        piece(length - 14.0, length);
    } else {
        piece(0.0, length);
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{base}\" font-weight=\"{weight}\">{}</text>",
        LEFT + length + 6.0,
        three_digits(ratio)
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rows: &[(Kind, Option<f64>, &str)]) -> Results {
        let row = |&(kind, ratio, name): &(Kind, Option<f64>, &str)| Row {
            kind,
            ratio,
            allocations: None,
            per_second: None,
            name: name.to_owned(),
            accepts: String::new(),
        };
        let (date, token, machine) = ("2026-11-22".to_owned(), "RS256".to_owned(), "two <cores>".to_owned());
        Results { date, token, machine, rows: rows.iter().map(row).collect() }
    }

    /// The stored picture is that of the stored results.
    #[test]
    fn the_stored_picture_is_up_to_date() {
        let read = |path| std::fs::read_to_string(path).expect("the file is there");
        let results = read(crate::RESULTS).parse().expect("the file is correct");
        assert_eq!(draw(&results), read(crate::PICTURE), "run benches/peers/run --draw");
    }

    #[test]
    fn sorts_the_bars_and_shortens_long_ones() {
        let svg = draw(&results(&[
            (Kind::Bound, Some(1.0), "limit"),
            (Kind::Peer, Some(11.2), "slow"),
            (Kind::Peer, None, "not measured"),
            (Kind::Ours, Some(0.5), "fast"),
        ]));
        assert!(svg.find(">fast<") < svg.find(">slow<"));
        assert!(!svg.contains(">limit<") && !svg.contains("not measured"));
        // One bar without a gap, and one with.
        assert_eq!(svg.matches("height=\"15\"").count(), 3);
        let widths = svg.split("width=\"").filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok());
        let drawn: f64 = widths.sum();
        assert!((drawn - WIDTH * 2.0 - (0.5 + LONGEST) * UNIT + 6.0).abs() < 0.1, "{drawn}");
        assert!(svg.contains(">11.2<") && svg.contains(">0.50<"));
    }

    /// A blank line would end the HTML block in Markdown, and rules without the id would change the page.
    #[test]
    fn can_be_inside_of_a_page() {
        let svg = draw(&results(&[(Kind::Ours, Some(1.0), "a & b <c>")]));
        assert!(svg.contains("a &amp; b &lt;c&gt;") && svg.contains("two &lt;cores&gt;"));
        assert!(svg.lines().all(|line| !line.trim().is_empty()));
        let style = svg.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).expect("a style");
        for rule in style.lines().filter(|line| line.contains('{') && !line.starts_with("@media")) {
            assert!(rule.contains("#tower-oauth-performance"), "{rule}");
        }
    }
}
