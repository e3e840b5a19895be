//! The protocol of one connection.

use std::{collections::HashMap, sync::Arc};

use dunlin_sync::lock::unpoisoned;
use serde_json::{Value, json};
use taos::{ColumnView, Precision, RawBlock, taos_query::common::BorrowedValue};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Cell, Cut, Row, Shared,
    database::{Refusal, refuse},
    sql::{self, Answer},
};

/// What to do about one frame.
pub(super) enum Reply {
    None,
    Frame(Message),
    HangUp,
}

/// One connection after the WebSocket handshake.
pub(super) struct Session {
    shared: Arc<Shared>,
    is_in: bool,
    database: Option<String>,
    results: HashMap<u64, Option<Vec<u8>>>,
    last_result: u64,
}

fn json_frame(value: &Value) -> Reply {
    Reply::Frame(Message::text(value.to_string()))
}

fn error_frame(action: &str, req_id: u64, refusal: &Refusal) -> Reply {
    json_frame(&json!({
        "code": refusal.code, "message": refusal.message, "action": action,
        "req_id": req_id, "timing": 1,
    }))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let eight = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
    u64::from_le_bytes(eight.unwrap_or_default())
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    let four = bytes.get(at..at + 4).and_then(|b| b.try_into().ok());
    u32::from_le_bytes(four.unwrap_or_default()) as usize
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            is_in: false,
            database: None,
            results: HashMap::new(),
            last_result: 0,
        }
    }

    /// A frame of JSON.
    pub(super) fn greeting(&mut self, text: &str) -> Reply {
        let request: Value = serde_json::from_str(text).unwrap_or_default();
        let req_id = request["args"]["req_id"].as_u64().unwrap_or(0);
        match request["action"].as_str() {
            Some("version") => json_frame(&json!({
                "code": 0, "message": "", "action": "version", "version": super::VERSION,
            })),
            Some("conn") => {
                let wanted = unpoisoned(self.shared.password.lock()).clone();
                if wanted.is_some_and(|wanted| request["args"]["password"] != wanted.as_str()) {
                    let refusal = refuse(0x0357, "Authentication failure".into());
                    return error_frame("conn", req_id, &refusal);
                }
                self.is_in = true;
                json_frame(&json!({
                    "code": 0, "message": "", "action": "conn", "req_id": req_id, "timing": 1,
                }))
            }
            Some("free_result") => Reply::None,
            _ => Reply::HangUp,
        }
    }

    /// A binary frame.
    pub(super) fn request(&mut self, bytes: &[u8]) -> Reply {
        if bytes.len() < 24 || !self.is_in {
            return Reply::HangUp;
        }
        let (req_id, result) = (u64_at(bytes, 0), u64_at(bytes, 8));
        match u64_at(bytes, 16) {
            5 => {
                let cut = self.cut();
                if cut == Some(Cut::BeforeApplying) {
                    return Reply::HangUp;
                }
                match self.block(&bytes[24..]) {
                    _ if cut.is_some() => Reply::HangUp,
                    Ok(()) => json_frame(&json!({
                        "code": 0, "message": "", "action": "write_raw_block_with_fields",
                        "req_id": req_id, "timing": 1,
                    })),
                    Err(refusal) => error_frame("write_raw_block_with_fields", req_id, &refusal),
                }
            }
            6 => {
                let sql = bytes.get(30..).unwrap_or_default();
                let sql = String::from_utf8_lossy(sql).into_owned();
                if std::mem::take(&mut unpoisoned(self.shared.faults.lock()).is_garbled) {
                    return Reply::Frame(Message::text("no JSON"));
                }
                let cut = if sql.starts_with("INSERT") {
                    self.cut()
                } else {
                    None
                };
                if cut == Some(Cut::BeforeApplying) {
                    return Reply::HangUp;
                }
                let answer = self.query(&sql);
                if cut.is_some() {
                    return Reply::HangUp;
                }
                self.answer(req_id, answer)
            }
            7 => self.fetch(req_id, result),
            _ => Reply::HangUp,
        }
    }

    /// The cut due at this write, if any.
    fn cut(&self) -> Option<Cut> {
        let mut faults = unpoisoned(self.shared.faults.lock());
        let due = faults.cuts.iter().position(|(skip, _)| *skip == 0);
        for (skip, _) in &mut faults.cuts {
            *skip = skip.saturating_sub(1);
        }
        due.map(|due| faults.cuts.remove(due).1)
    }

    fn query(&mut self, sql: &str) -> Result<Answer, Refusal> {
        let failing = self.failing(sql);
        let mut model = unpoisoned(self.shared.model.lock());
        model.statements.push(sql.to_owned());
        if let Some(refusal) = failing {
            return Err(refusal);
        }
        if sql.len() > 1_000_000 {
            return Err(refuse(0x0219, "SQL statement too long".into()));
        }
        sql::run(&mut model, &mut self.database, sql)
    }

    /// The error that is due at `sql`, if any.
    fn failing(&self, sql: &str) -> Option<Refusal> {
        let errors = &mut unpoisoned(self.shared.faults.lock()).errors;
        let is_due = |(prefix, _, times): &&mut (String, Refusal, usize)| {
            *times > 0 && sql.starts_with(&**prefix)
        };
        let (_, refusal, times) = errors.iter_mut().find(is_due)?;
        *times -= 1;
        Some(refusal.clone())
    }

    fn answer(&mut self, req_id: u64, answer: Result<Answer, Refusal>) -> Reply {
        let answer = match answer {
            Ok(answer) => answer,
            Err(refusal) => return error_frame("binary_query", req_id, &refusal),
        };
        if answer.names.is_empty() {
            return json_frame(&json!({
                "code": 0, "message": "", "action": "binary_query", "req_id": req_id, "timing": 1,
                "id": 0, "is_update": true, "affected_rows": answer.affected_rows,
                "fields_count": 0, "fields_names": null, "fields_types": null,
                "fields_lengths": null, "precision": 0,
            }));
        }
        let views: Vec<ColumnView> = (0..answer.names.len())
            .map(|column| view(&answer.records, column))
            .collect();
        let block = (!answer.records.is_empty())
            .then(|| RawBlock::from_views(&views, Precision::Nanosecond));
        self.last_result += 1;
        let block = block.map(|block| block.as_raw_bytes().to_vec());
        self.results.insert(self.last_result, block);
        json_frame(&json!({
            "code": 0, "message": "", "action": "binary_query", "req_id": req_id, "timing": 1,
            "id": self.last_result, "is_update": false, "affected_rows": 0,
            "fields_count": answer.names.len(), "fields_names": answer.names,
            "fields_types": views.iter().map(|view| view.as_ty() as u8).collect::<Vec<_>>(),
            "fields_lengths": vec![64; answer.names.len()], "precision": 2,
        }))
    }

    fn fetch(&mut self, req_id: u64, result: u64) -> Reply {
        let block = self.results.get_mut(&result).and_then(Option::take);
        let mut frame = Vec::new();
        frame.extend_from_slice(&u64::MAX.to_le_bytes());
        frame.extend_from_slice(&7u64.to_le_bytes());
        frame.extend_from_slice(&1u16.to_le_bytes());
        frame.extend_from_slice(&1u64.to_le_bytes());
        frame.extend_from_slice(&req_id.to_le_bytes());
        frame.extend_from_slice(&0u32.to_le_bytes());
        frame.extend_from_slice(&0u32.to_le_bytes());
        frame.extend_from_slice(&result.to_le_bytes());
        if let Some(block) = block {
            frame.push(0);
            frame.extend_from_slice(&(block.len() as u32).to_le_bytes());
            frame.extend_from_slice(&block);
        } else {
            frame.push(1);
            self.results.remove(&result);
        }
        Reply::Frame(Message::binary(frame))
    }

    /// Rows, name length, name, raw block, 72 bytes a field.
    fn block(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let bad = || refuse(0x0115, "Invalid message".into());
        let name_bytes = usize::from(bytes[4]) | usize::from(bytes[5]) << 8;
        let name = bytes.get(6..6 + name_bytes).ok_or_else(bad)?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| bad())?;
        let raw = &bytes[6 + name_bytes..];
        let raw_bytes = u32_at(raw, 4);
        let fields = raw.get(raw_bytes..).ok_or_else(bad)?;
        let names: Vec<String> = fields
            .chunks_exact(72)
            .map(|field| {
                let end = field[..65].iter().position(|byte| *byte == 0).unwrap_or(65);
                String::from_utf8_lossy(&field[..end]).into_owned()
            })
            .collect();
        let block =
            RawBlock::parse_from_raw_block(raw[..raw_bytes].to_vec(), Precision::Nanosecond);
        let mut rows = Vec::with_capacity(block.nrows());
        for row in 0..block.nrows() {
            let mut cells = Row::new();
            for (column, name) in names.iter().enumerate() {
                let value = block.get_ref(row, column).ok_or_else(bad)?;
                cells.insert(name.clone(), cell(&value).ok_or_else(bad)?);
            }
            rows.push(cells);
        }
        let failing = self.failing(super::RAW_BLOCK);
        let mut model = unpoisoned(self.shared.model.lock());
        model.blocks += 1;
        if let Some(refusal) = failing {
            return Err(refusal);
        }
        let database = self.database.clone();
        let database = database.ok_or_else(|| refuse(0x2616, "Database not specified".into()))?;
        model.put_block(&database, &name, rows)
    }
}

fn cell(value: &BorrowedValue) -> Option<Cell> {
    Some(match value {
        BorrowedValue::Null(_) => Cell::Null,
        BorrowedValue::Bool(x) => Cell::Bool(*x),
        BorrowedValue::UTinyInt(x) => Cell::U8(*x),
        BorrowedValue::BigInt(x) => Cell::I64(*x),
        BorrowedValue::Timestamp(x) => Cell::Ts(x.as_raw_i64()),
        BorrowedValue::Float(x) => Cell::F32(*x),
        BorrowedValue::Double(x) => Cell::F64(*x),
        BorrowedValue::VarChar(x) => Cell::Text((*x).to_owned()),
        _ => return None,
    })
}

fn view(records: &[Vec<Cell>], column: usize) -> ColumnView {
    let numbers: Vec<Option<i64>> = records
        .iter()
        .map(|record| match &record[column] {
            Cell::I64(x) | Cell::Ts(x) => Some(*x),
            _ => None,
        })
        .collect();
    if !numbers.is_empty() && numbers.iter().all(Option::is_some) {
        return ColumnView::from_big_ints(numbers);
    }
    let texts = records
        .iter()
        .map(|record| Some(record[column].to_string()));
    ColumnView::from_varchar::<String, _, _, _>(texts)
}
