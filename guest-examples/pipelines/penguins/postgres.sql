-- The table that postgres.toml watches: the columns of the data, and a number that grows.
create table penguins (
    id bigint generated always as identity primary key,
    "studyName" text,
    "Sample Number" integer,
    "Species" text not null,
    "Region" text,
    "Island" text,
    "Stage" text,
    "Individual ID" text,
    "Clutch Completion" text,
    "Date Egg" date,
    "Culmen Length (mm)" numeric,
    "Culmen Depth (mm)" numeric,
    "Flipper Length (mm)" numeric,
    "Body Mass (g)" numeric,
    "Sex" text,
    "Delta 15 N (o/oo)" numeric,
    "Delta 13 C (o/oo)" numeric,
    "Comments" text
);

-- Tells the host that rows have come.
create function announce() returns trigger language plpgsql as $$ begin notify penguins; return null; end $$;
create trigger announce after insert on penguins for each statement execute function announce();
