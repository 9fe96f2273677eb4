-- Times are seconds since 1970. Tables may get columns; none loses one or changes its meaning.

-- Pools as the controller serves them; written by the controller.
create table pools (
  name      text primary key,
  mode      text not null,              -- serve, pause, drain
  min_idle  integer not null,
  max       integer not null,
  labels    text not null,              -- JSON
  trouble   text,                       -- why it does not work as it should
  forge_at  integer,                    -- when the forge answered last
  seen_at   integer not null            -- when the controller looked last
) strict;

-- VMs that run jobs, also those that are gone; written by the controller.
create table runners (
  name      text primary key,
  pool      text not null,
  state     text not null,              -- creating … failed, gone
  made_at   integer not null,
  since     integer not null,           -- when it came into the state
  ready_at  integer,                    -- when it was online at the forge
  busy_at   integer,                    -- when its job was seen first
  gone_at   integer,
  reason    text                        -- why it ended
) strict;
create index runners_by_pool on runners (pool, gone_at);
create index runners_by_end on runners (gone_at);

-- Jobs as the forges reported them; written by the listener and the controller.
create table jobs (
  forge      text not null,
  id         text not null,
  repository text not null,
  workflow   text not null,
  name       text not null,
  url        text not null,
  labels     text not null,             -- JSON
  pool       text,                      -- the pool that it counts for
  state      text not null,             -- queued, running, completed
  runner     text,
  result     text,                      -- success, failure, cancelled …, lost, expired
  queued_at  integer not null,
  started_at integer,
  ended_at   integer,
  updated_at integer not null,
  primary key (forge, id)
) strict;
create index jobs_by_state on jobs (state, pool);
create index jobs_by_time on jobs (queued_at);

-- What users want; written by commands and the API, read by the controller.
create table pool_wishes (
  pool     text primary key,
  mode     text,
  min_idle integer,
  max      integer
) strict;
create table runner_wishes (
  runner text primary key,
  wish   text not null                  -- replace, leave, kill
) strict;

create view active_jobs as
  select forge, id, repository, workflow, name, pool, state, runner, queued_at, started_at
  from jobs where state <> 'completed' order by queued_at;

create view runner_status as
  select pool, state, count(*) as runners from runners where gone_at is null group by pool, state;

create view job_durations_by_hour as
  select strftime('%Y-%m-%dT%H:00Z', ended_at, 'unixepoch') as hour, pool, count(*) as jobs,
    avg(started_at - queued_at) as seconds_queued, avg(ended_at - started_at) as seconds_run
  from jobs where state = 'completed' and started_at is not null and ended_at is not null
  group by hour, pool;
