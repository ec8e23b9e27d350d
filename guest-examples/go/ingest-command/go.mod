module ingest

go 1.27
