//! A time series, drawn by uPlot through `js/chart.js`.

use serde::Serialize;
use wasm_bindgen::prelude::*;
use yew::prelude::*;

use crate::theme::use_theme;

/// What the numbers are, and so how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Things counted.
    Count,
    /// Dollars.
    Usd,
    /// Milliseconds.
    Ms,
}

/// One line, or one layer of a stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Series {
    /// What it is called.
    pub(crate) label: String,
    /// The custom property that holds its colour; `None`: the next of the palette.
    pub(crate) color: Option<&'static str>,
}

/// All that is drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Plot {
    /// How the numbers are written.
    pub(crate) unit: Unit,
    /// Whether the series add up and are drawn on top of each other.
    pub(crate) stacked: bool,
    /// Whether the area below a line is tinted.
    pub(crate) filled: bool,
    /// The left end of the axis, in Unix seconds.
    pub(crate) from: u64,
    /// The right end.
    pub(crate) to: u64,
    /// Seconds from one point to the next.
    pub(crate) step: u64,
    /// The points in time, in Unix seconds.
    pub(crate) times: Vec<u64>,
    /// The series.
    pub(crate) series: Vec<Series>,
    /// For each series, one value for each point in time; `None`: a gap.
    pub(crate) values: Vec<Vec<Option<f64>>>,
}

#[wasm_bindgen(module = "/js/chart.js")]
extern "C" {
    #[wasm_bindgen(js_name = Chart)]
    type JsChart;

    #[wasm_bindgen(constructor, js_class = "Chart")]
    fn new(element: &web_sys::Element, plot: &str) -> JsChart;

    #[wasm_bindgen(method)]
    fn update(this: &JsChart, plot: &str);

    #[wasm_bindgen(method)]
    fn destroy(this: &JsChart);
}

/// Takes the chart away with the component.
struct Drawn(JsChart);

/// Properties of [`Chart`].
#[derive(Clone, PartialEq, Properties)]
pub(crate) struct Props {
    /// What it shows, for those who cannot see it.
    pub(crate) label: AttrValue,
    /// What is drawn.
    pub(crate) plot: Plot,
}

/// A chart as wide as its place, in the theme's colours.
#[component]
pub(crate) fn Chart(props: &Props) -> Html {
    let place = use_node_ref();
    let drawn = use_mut_ref(|| None::<Drawn>);
    let theme = use_theme();
    {
        let place = place.clone();
        // The theme is among the dependencies because colours are read when the chart is drawn.
        use_effect_with((props.plot.clone(), theme.dark), move |(plot, _)| {
            let json = serde_json::to_string(plot).expect("a plot holds nothing that JSON cannot");
            let mut drawn = drawn.borrow_mut();
            match (&*drawn, place.cast::<web_sys::Element>()) {
                (Some(Drawn(chart)), _) => chart.update(&json),
                (None, Some(element)) => *drawn = Some(Drawn(JsChart::new(&element, &json))),
                (None, None) => {}
            }
        });
    }
    html!(<div class="sl-chart" role="img" aria-label={props.label.clone()} ref={place}></div>)
}

/// The names of the series with their colours, below or above a chart.
pub(crate) fn legend(plot: &Plot) -> Html {
    let entry = |(index, series): (usize, &Series)| {
        let mark = match series.color {
            Some(color) => format!("sl-mark {}", color.trim_start_matches("--")),
            None => format!("sl-mark sl-series-{}", index % 8 + 1),
        };
        html!(<li><i class={mark}></i>{ &series.label }</li>)
    };
    html!(<ul class="sl-legend">{ for plot.series.iter().enumerate().map(entry) }</ul>)
}

// === impl Drawn ===

impl Drop for Drawn {
    fn drop(&mut self) {
        self.0.destroy();
    }
}
