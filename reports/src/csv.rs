//! measurements.csv: every value of every trial; comparisons.csv: every judged ratio. In full precision (RFC 4180).

use std::io::{self, Write};

use bench_results::record::{Accelerator, Measurement, PlannedTrial};
use bench_results::store::Record;
use bench_results::{Direction, Unit};

use crate::escape::csv_field;
use crate::report::{Report, ResultRow};

/// Every value of every trial, in the order of execution: `block,order,environment,workload,accelerator,metric,unit,value,valid,turn`, one
/// line each. They may be millions, and go out line by line.
///
/// # Errors
/// Those of writing.
pub fn write_measurements(record: &Record, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "block,order,environment,workload,accelerator,metric,unit,value,valid,turn")?;
    for trial in &record.trials {
        let accelerator = match trial.accelerator {
            Some(Accelerator::Kvm) => "kvm",
            Some(Accelerator::Tcg) => "tcg",
            None => "",
        };
        let PlannedTrial { block, turn, order, environment, workload, .. } = &trial.planned;
        let (environment, workload, valid) = (csv_field(environment), csv_field(workload), trial.is_valid());
        for Measurement { metric, unit, value, .. } in &trial.measurements {
            let (metric, unit) = (csv_field(metric), unit_name(*unit));
            writeln!(
                to,
                "{block},{order},{environment},{workload},{accelerator},{metric},{unit},{value},{valid},{turn}"
            )?;
        }
    }
    Ok(())
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
