# The tasks for DuckDB and Polars, each in the way that is fastest there: texts are compared as
# texts, numbers are made of the rows that are wanted only, nothing is guessed from the file.
# Prints the rows found and the seconds, without the start of Python.
import os, sys, time

tool, task, place, what = sys.argv[1:5]
boxes = ["ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
         "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"]
images = ["ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL",
          "Author", "Title", "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation"]
numbers = boxes[3:]


def csv(columns):
    types = ", ".join(f"'{c}': 'VARCHAR'" for c in columns)
    return f"read_csv('{place}', auto_detect=false, header=true, delim=',', quote='\"', escape='\"', columns={{{types}}}, parallel=true)"


if tool == "duckdb":
    import duckdb
    db = duckdb.connect()
    db.execute("SET enable_progress_bar=false")
    db.execute(f"SET threads={len(os.sched_getaffinity(0))}")
    cast = ", ".join(f"CAST({c} AS FLOAT) AS {c}" for c in numbers)
    start = time.perf_counter()
    if task == "scan":
        rows = len(db.sql(f"SELECT ImageID, Source, LabelName, {cast} FROM {csv(boxes)} WHERE LabelName = '{what}'").to_arrow_table())
    elif task == "images":
        rows = len(db.sql(f"SELECT * FROM {csv(images)} WHERE starts_with(ImageID, '{what}')").to_arrow_table())
    elif task == "index":
        os.makedirs(what)
        db.execute("SET memory_limit='2GB'")
        db.execute(f"COPY (SELECT ImageID, Source, LabelName, {cast} FROM {csv(boxes)} ORDER BY LabelName) TO '{what}/all.parquet' (FORMAT parquet)")
        rows = db.execute(f"SELECT count(*) FROM '{what}/all.parquet'").fetchall()[0][0]
    else:
        rows = len(db.sql(f"SELECT * FROM '{place}/{what}'").to_arrow_table())
else:
    import polars as pl
    start = time.perf_counter()
    if task == "scan":
        q = pl.scan_csv(place, schema={c: pl.String for c in boxes}).filter(pl.col("LabelName") == what)
        rows = len(q.with_columns(pl.col(numbers).cast(pl.Float32)).collect(engine="streaming"))
    elif task == "images":
        q = pl.scan_csv(place, schema={c: pl.String for c in images}).filter(pl.col("ImageID").str.starts_with(what))
        rows = len(q.collect(engine="streaming"))
    else:
        rows = len(pl.read_parquet(f"{place}/{what}"))
print(rows, time.perf_counter() - start)
