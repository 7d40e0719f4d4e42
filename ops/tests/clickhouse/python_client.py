"""clickhouse-connect against the embedded server: each promise is one assertion."""

import datetime
import sys

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

port, password = int(sys.argv[1]), sys.argv[2]
client = clickhouse_connect.get_client(host="127.0.0.1", port=port, username="default", password=password)


def error_of(action):
    try:
        action()
    except DatabaseError as error:
        return error.code, error.name
    raise AssertionError("no error")


# Connect.
assert client.ping()
assert client.server_version
assert error_of(lambda: clickhouse_connect.get_client(host="127.0.0.1", port=port, password="wrong"))[0] == 516

# Insert, in many blocks and compressed.
client.command(
    "CREATE TABLE samples (a UInt64, b String, c DateTime64(3, 'UTC'), d Array(String), e Nullable(Float64)) "
    "ENGINE = MergeTree ORDER BY a"
)
moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
rows = [[n, f"row {n}\n\n;", moment, ["x", "it's"], None if n % 2 else n / 4] for n in range(100_000)]
summary = client.insert("samples", rows, column_names=["a", "b", "c", "d", "e"])
assert summary.written_rows == 100_000, summary.summary
client.raw_insert("samples", ["a", "b"], '100000,"x\n\ny"\n', fmt="CSV")
for compression in ("lz4", "gzip", None):
    other = clickhouse_connect.get_client(
        host="127.0.0.1", port=port, password=password, compress=compression or False
    )
    other.insert("samples", [[200_000, compression or "plain"]], column_names=["a", "b"])
    other.close()

# Select.
assert client.query("SELECT count(), sum(a) FROM samples WHERE a < 100000").result_rows == [(100_000, 4_999_950_000)]
assert client.query("SELECT * FROM samples WHERE a = 7").column_names == ("a", "b", "c", "d", "e")
assert client.query("SELECT b, d, e FROM samples WHERE a = 8").result_rows == [("row 8\n\n;", ["x", "it's"], 2.0)]
assert sorted(client.query("SELECT b FROM samples WHERE a = 200000").result_columns[0]) == ["gzip", "lz4", "plain"]
assert client.query("SELECT a FROM samples LIMIT 0").column_names == ("a",)
assert client.command("SELECT 5") == 5
assert client.raw_query("SELECT 1 AS a", fmt="JSONEachRow") == b'{"a":1}\n'

# Stream.
with client.query_row_block_stream("SELECT a, b FROM samples ORDER BY a") as stream:
    blocks = [len(block) for block in stream]
assert sum(blocks) == 100_004 and len(blocks) > 1, blocks
try:
    sql = "SELECT throwIf(number = 500000) FROM numbers(1000000) SETTINGS max_block_size = 1000"
    with client.query_row_block_stream(sql) as stream:
        seen = sum(len(block) for block in stream)
    raise AssertionError(f"the error was lost after {seen} rows")
except StreamFailureError as error:
    assert "Code: 395" in str(error), error

# Bound parameters, in the URL and in a form.
bound = {"a": 7, "b": "row%", "list": ["it's", "b"]}
sql = "SELECT a, {list:Array(String)} FROM samples WHERE a = {a:UInt64} AND b LIKE {b:String}"
assert client.query(sql, parameters=bound).result_rows == [(7, ["it's", "b"])]
long = "x" * 200_000
assert client.query("SELECT length({long:String})", parameters={"long": long}).result_rows == [(200_000,)]

# Settings: for one query, and gone after it.
setting = "SELECT value FROM system.settings WHERE name = 'max_block_size'"
assert client.query(setting, settings={"max_block_size": 7}).result_rows == [("7",)]
assert client.query(setting).result_rows != [("7",)]

# A session keeps what was set in it.
client.command("CREATE TEMPORARY TABLE mine (a Int8)")
client.command("INSERT INTO mine VALUES (1)")
assert client.query("SELECT * FROM mine").result_rows == [(1,)]

# Errors have ClickHouse's own codes and names.
assert error_of(lambda: client.query("SELECT * FROM nowhere")) == (60, "UNKNOWN_TABLE")
assert error_of(lambda: client.query("SELEC 1")) == (62, "SYNTAX_ERROR")
assert error_of(lambda: client.query("SELECT toUInt8('x')")) == (6, "CANNOT_PARSE_TEXT")
assert error_of(lambda: client.command("DROP TABLE nowhere")) == (60, "UNKNOWN_TABLE")
insert = lambda: client.insert("nowhere", [[1]], column_names=["a"], column_type_names=["UInt64"])
assert error_of(insert) == (60, "UNKNOWN_TABLE")

client.close()
