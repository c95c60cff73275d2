//! measurements.csv: every value of every trial, in full precision (RFC 4180).

use std::fmt::Write as _;

use bench_results::Unit;

use crate::escape::csv_field;
use crate::report::{MeasurementRow, Report};

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
