//! measurements.csv: every value of every trial; comparisons.csv: every judged ratio. In full precision (RFC 4180).

use std::fmt::Write as _;

use bench_results::{Direction, Unit};

use crate::escape::csv_field;
use crate::report::{MeasurementRow, Report, ResultRow};

impl Report {
    /// `block,order,environment,workload,accelerator,metric,unit,value,valid,turn`, one line per value.
    pub fn csv(&self) -> String {
        let mut text = String::from("block,order,environment,workload,accelerator,metric,unit,value,valid,turn\n");
        for row in &self.measurements {
            let MeasurementRow { block, turn, order, environment, workload, accelerator, metric, unit, value, valid } =
                row;
            let (environment, workload, metric) = (csv_field(environment), csv_field(workload), csv_field(metric));
            let unit = unit_name(*unit);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{block},{order},{environment},{workload},{accelerator},{metric},{unit},{value},{valid},{turn}"
            );
        }
        text
    }
}

/// Columns of comparisons.csv.
const COMPARISONS: &str = "workload,environment,role,metric,unit,better,reference,ratio,low,high,verdict,p_holm,blocks,mean,reference_mean,\
                           sentence\n";

impl Report {
    /// One line for each workload, environment and metric that is judged, or would be but for a reason in `sentence`; `role` is
    /// `deciding`, `secondary` or `emulated`.
    pub fn comparisons_csv(&self) -> String {
        let mut text = COMPARISONS.to_owned();
        let roles = [("deciding", &self.results), ("secondary", &self.secondaries), ("emulated", &self.emulated)];
        for (role, rows) in roles {
            rows.iter().for_each(|row| text.push_str(&self.comparison_line(role, row)));
        }
        text
    }

    fn comparison_line(&self, role: &str, row: &ResultRow) -> String {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let (unit, better) = (unit_name(row.unit), better_name(row.better));
        let numbers = [row.ratio, row.interval.map(|i| i.0), row.interval.map(|i| i.1)].map(number).join(",");
        let means = [row.mean, row.reference_mean].map(number).join(",");
        let texts = [&row.workload, &row.environment, &row.metric_name, &self.reference, &row.sentence];
        let [workload, environment, metric, reference, sentence] = texts.map(|text| csv_field(text));
        let (verdict, p) = (row.verdict.class(), number(row.p_holm));
        format!(
            "{workload},{environment},{role},{metric},{unit},{better},{reference},{numbers},{verdict},{p},{},{means},{sentence}\n",
            row.blocks
        )
    }
}

/// The direction as the record writes it.
fn better_name(better: Direction) -> &'static str {
    match better {
        Direction::Higher => "higher",
        Direction::Lower => "lower",
    }
}

/// The unit as the record writes it.
fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Iops => "iops",
        Unit::BytesPerS => "bytes_per_s",
        Unit::Ns => "ns",
        Unit::PerS => "per_s",
        Unit::NsPerIo => "ns_per_io",
        Unit::NsPerByte => "ns_per_byte",
        Unit::NsPerUnit => "ns_per_unit",
        Unit::CyclesPerByte => "cycles_per_byte",
        Unit::Bytes => "bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_as_in_the_record() {
        let all = [Unit::Iops, Unit::BytesPerS, Unit::PerS, Unit::Ns, Unit::Bytes];
        let costs = [Unit::NsPerIo, Unit::NsPerByte, Unit::NsPerUnit, Unit::CyclesPerByte];
        for unit in all.into_iter().chain(costs) {
            assert_eq!(serde_json::to_string(&unit).unwrap(), format!("\"{}\"", unit_name(unit)));
        }
    }
}
