-- +goose NO TRANSACTION
-- +goose Up

-- Tables of the log. Rules that hold for all of them:
-- * ORDER BY tenant and code first: nearly every question names a code or a tenant.
-- * The sequence index lets a worker that comes back ask which messages of a range are here already.
-- * non_replicated_deduplication_window is 0 by default, and then a retried insert doubles its rows.
-- * Rows expire by ingested_at, not ts: all rows of one batch go together, so that reconcile still adds up.

CREATE TABLE IF NOT EXISTS scans
(
    event_id String COMMENT 'the producer''s event id' CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'when it happened, as its producer says' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code; empty when there is only one',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    stream_seq UInt64 COMMENT 'sequence of its message in HUOMA_EVENTS' CODEC(Delta, ZSTD(1)),
    idx UInt32 COMMENT 'place within its message, from 0' CODEC(ZSTD(1)),
    variant UInt8 COMMENT 'variant of the picture, 1 to 8; 0 when unknown',
    tracking String COMMENT 'tracking code of the printed picture' CODEC(ZSTD(1)),
    visitor String COMMENT 'keyed hash of who scanned; empty when unknown' CODEC(ZSTD(1)),
    verdict LowCardinality(String) COMMENT 'accepted, duplicate, preview, bot, locked, capped, expired, full or revoked',
    rule LowCardinality(String) COMMENT 'the rule that gave the verdict',
    answered LowCardinality(String) COMMENT 'verdict the gateway answered with at once; empty from other producers',
    target Int32 COMMENT 'number of the target it was led to; -1 for none',
    utm_source LowCardinality(String) COMMENT 'utm_source it arrived with',
    utm_medium LowCardinality(String) COMMENT 'utm_medium it arrived with',
    utm_campaign LowCardinality(String) COMMENT 'utm_campaign it arrived with',
    utm_term LowCardinality(String) COMMENT 'utm_term it arrived with',
    utm_content LowCardinality(String) COMMENT 'utm_content it arrived with',
    country LowCardinality(String) COMMENT 'country of the network',
    province LowCardinality(String) COMMENT 'province of the network',
    city LowCardinality(String) COMMENT 'city of the network',
    device_model LowCardinality(String) COMMENT 'device model, from the user agent',
    os LowCardinality(String) COMMENT 'operating system, from the user agent',
    app LowCardinality(String) COMMENT 'app it was scanned with',
    referrer_host LowCardinality(String) COMMENT 'host of the referring page',
    network String COMMENT 'network prefix, never an address: IPv4 /24, IPv6 /64' CODEC(ZSTD(1)),
    click_id String COMMENT 'id handed to the target, by which joins and conversions refer to this scan' CODEC(ZSTD(1)),
    INDEX by_seq stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, code_id, ts, stream_seq, idx)
${ttl}
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'every scan with its final verdict; headline counts are verdict = accepted';

CREATE TABLE IF NOT EXISTS members
(
    event_id String COMMENT 'the producer''s event id' CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'when it happened, as its producer says' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code; empty when there is only one',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    stream_seq UInt64 COMMENT 'sequence of its message in HUOMA_EVENTS' CODEC(Delta, ZSTD(1)),
    idx UInt32 COMMENT 'place within its message, from 0' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'joined, left or snapshot',
    target Int32 COMMENT 'number of the target',
    visitor String COMMENT 'keyed hash of who it was; empty when unknown' CODEC(ZSTD(1)),
    click_id String COMMENT 'click_id of the scan that led here; empty when unknown' CODEC(ZSTD(1)),
    count Int64 COMMENT 'members this stands for: 1 when joined, -1 when left, the true size of the group in a snapshot' CODEC(ZSTD(1)),
    INDEX by_seq stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, code_id, ts, stream_seq, idx)
${ttl}
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'people joining and leaving the groups behind targets, as producers report them';

CREATE TABLE IF NOT EXISTS conversions
(
    event_id String COMMENT 'the producer''s event id' CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'when it happened, as its producer says' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code; empty when there is only one',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    stream_seq UInt64 COMMENT 'sequence of its message in HUOMA_EVENTS' CODEC(Delta, ZSTD(1)),
    idx UInt32 COMMENT 'place within its message, from 0' CODEC(ZSTD(1)),
    name LowCardinality(String) COMMENT 'lead, sale or the producer''s own word',
    value Decimal(18, 4) COMMENT 'worth in whole units of the currency; 0 when none was given' CODEC(ZSTD(1)),
    currency LowCardinality(String) COMMENT 'ISO 4217 code of the value; empty when none was given',
    click_id String COMMENT 'click_id of the scan that led here; empty when unknown' CODEC(ZSTD(1)),
    visitor String COMMENT 'keyed hash of who it was; empty when unknown' CODEC(ZSTD(1)),
    INDEX by_seq stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, code_id, ts, stream_seq, idx)
${ttl}
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'what visitors did later: leads, sales and whatever producers name';

CREATE TABLE IF NOT EXISTS alerts
(
    event_id String COMMENT 'the event id' CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'stream time of the step that raised it' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code; empty when there is only one',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    stream_seq UInt64 COMMENT 'sequence of the commit record in HUOMA_DECISIONS' CODEC(Delta, ZSTD(1)),
    idx UInt32 COMMENT 'place within that record, from 0' CODEC(ZSTD(1)),
    type LowCardinality(String) COMMENT 'type of the event',
    kind LowCardinality(String) COMMENT 'capacity, risk, renewal or expiry',
    target Int32 COMMENT 'number of the target concerned; -1 for none',
    rule LowCardinality(String) COMMENT 'the rule that spoke; empty when no rule did',
    cause Array(String) COMMENT 'ids of the events that caused it' CODEC(ZSTD(1)),
    detail String COMMENT 'the event''s data as JSON' CODEC(ZSTD(3)),
    INDEX by_seq stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, code_id, ts, stream_seq, idx)
${ttl}
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'what people were told: capacity, risk, renewal, expiry';

CREATE TABLE IF NOT EXISTS decisions
(
    event_id String COMMENT 'the event id' CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'stream time of the step that raised it' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code; empty when there is only one',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    stream_seq UInt64 COMMENT 'sequence of the commit record in HUOMA_DECISIONS' CODEC(Delta, ZSTD(1)),
    idx UInt32 COMMENT 'place within that record, from 0' CODEC(ZSTD(1)),
    type LowCardinality(String) COMMENT 'type of the event',
    kind LowCardinality(String) COMMENT 'what was decided',
    target Int32 COMMENT 'number of the target concerned; -1 for none',
    rule LowCardinality(String) COMMENT 'the rule that spoke; empty when no rule did',
    cause Array(String) COMMENT 'ids of the events that caused it' CODEC(ZSTD(1)),
    detail String COMMENT 'the event''s data as JSON' CODEC(ZSTD(3)),
    INDEX by_seq stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, code_id, ts, stream_seq, idx)
${ttl}
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'what the log decided: lock, unlock, rotate, full, cap, expire, renew, revoke, reopen, flag, dry-run';

-- Counts, not rows: guessing must cost the guesser more than us.
CREATE TABLE IF NOT EXISTS forged
(
    event_id String COMMENT 'the event id' CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'the minute counted' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'empty: a forged scan names no code, so it has no tenant',
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    stream_seq UInt64 COMMENT 'sequence of its message in HUOMA_EVENTS' CODEC(Delta, ZSTD(1)),
    idx UInt32 COMMENT 'place within its message, from 0' CODEC(ZSTD(1)),
    network String COMMENT 'network prefix, never an address: IPv4 /24, IPv6 /64' CODEC(ZSTD(1)),
    count UInt64 COMMENT 'forged scans of this network in this minute' CODEC(ZSTD(1)),
    INDEX by_seq stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (tenant, ts, stream_seq, idx)
${ttl}
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'scans whose token was forged, counted per network and minute';

CREATE TABLE IF NOT EXISTS commits
(
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    step UInt64 COMMENT 'number of the step, 1, 2, 3, …: a gap is a loss' CODEC(Delta, ZSTD(1)),
    commit_seq UInt64 COMMENT 'sequence of the record in HUOMA_DECISIONS' CODEC(Delta, ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'stream time of the newest input of the step' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    owner String COMMENT 'instance of the scan worker' CODEC(ZSTD(1)),
    reached_seq UInt64 COMMENT 'input message this step ended at' CODEC(Delta, ZSTD(1)),
    reached_idx UInt32 COMMENT 'place within that message' CODEC(ZSTD(1)),
    reached_more Bool COMMENT 'whether that message goes on after reached_idx, in the next step' CODEC(ZSTD(1)),
    step_scans UInt32 COMMENT 'scans in this step' CODEC(ZSTD(1)),
    step_members UInt32 COMMENT 'member events in this step' CODEC(ZSTD(1)),
    step_conversions UInt32 COMMENT 'conversions in this step' CODEC(ZSTD(1)),
    step_codes UInt32 COMMENT 'definition events in this step' CODEC(ZSTD(1)),
    step_forged UInt32 COMMENT 'forged-count events in this step' CODEC(ZSTD(1)),
    step_decisions UInt32 COMMENT 'decisions in this step' CODEC(ZSTD(1)),
    step_alerts UInt32 COMMENT 'alerts in this step' CODEC(ZSTD(1)),
    step_dead UInt32 COMMENT 'events sent to HUOMA_DLQ in this step' CODEC(ZSTD(1)),
    total_scans UInt64 COMMENT 'scans the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_members UInt64 COMMENT 'member events the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_conversions UInt64 COMMENT 'conversions the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_codes UInt64 COMMENT 'definition events the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_forged UInt64 COMMENT 'forged-count events the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_decisions UInt64 COMMENT 'decisions the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_alerts UInt64 COMMENT 'alerts the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_repeated UInt64 COMMENT 'events seen before by id and dropped the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    total_dead UInt64 COMMENT 'events sent to HUOMA_DLQ the partition has ever decided, this step included' CODEC(Delta, ZSTD(1)),
    INDEX by_ingested ingested_at TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(ts)
ORDER BY (partition, step, commit_seq)
${ttl}
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'one row per commit record: the log''s own account, which reconcile holds the other tables against';

-- Every state a code has been in. Written in full with each step that touches the code; merges keep the newest.
-- It has no monthly partitions, as merges replace rows within one partition only, and no expiry, as a code's state is not history.
CREATE TABLE IF NOT EXISTS codes_log
(
    event_id String COMMENT 'the commit record it is from: partition.step.place' CODEC(ZSTD(1)),
    ts DateTime64(3, 'UTC') COMMENT 'stream time of the step' CODEC(Delta, ZSTD(1)),
    ingested_at DateTime64(3, 'UTC') COMMENT 'when the analytics worker took the commit record; one value for all rows of a batch' CODEC(DoubleDelta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code; empty when there is only one',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    partition UInt16 COMMENT 'partition of the log' CODEC(ZSTD(1)),
    stream_seq UInt64 COMMENT 'sequence of the commit record in HUOMA_DECISIONS' CODEC(Delta, ZSTD(1)),
    idx UInt32 COMMENT 'place within that record, from 0' CODEC(ZSTD(1)),
    revision UInt64 COMMENT 'revision of the definition' CODEC(ZSTD(1)),
    name String COMMENT 'name its owner gave' CODEC(ZSTD(1)),
    profile LowCardinality(String) COMMENT 'platform profile',
    campaign LowCardinality(String) COMMENT 'campaign of the code',
    source LowCardinality(String) COMMENT 'source of the code',
    medium LowCardinality(String) COMMENT 'medium of the code',
    owner String COMMENT 'who is told about it' CODEC(ZSTD(1)),
    status LowCardinality(String) COMMENT 'active, capped, full, expired or revoked',
    reason LowCardinality(String) COMMENT 'why it expired',
    minted_at DateTime64(3, 'UTC') COMMENT 'when it was minted' CODEC(ZSTD(1)),
    expires_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when it expires; NULL when permanent' CODEC(ZSTD(1)),
    renewal_due_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when its owner must renew; NULL when never' CODEC(ZSTD(1)),
    renewed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when its owner last renewed; NULL when never' CODEC(ZSTD(1)),
    revoked_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when its owner ended it; NULL when not' CODEC(ZSTD(1)),
    max_scans UInt64 COMMENT 'scan cap; 0 for none' CODEC(ZSTD(1)),
    current Int32 COMMENT 'number of the target scans go to; -1 for none' CODEC(ZSTD(1)),
    consumed UInt64 COMMENT 'accepted scans counted against the cap' CODEC(ZSTD(1)),
    counts Map(LowCardinality(String), UInt64) COMMENT 'scans by verdict' CODEC(ZSTD(1)),
    unique UInt64 COMMENT 'distinct visitors with an accepted scan' CODEC(ZSTD(1)),
    targets Nested
    (
        n Int32,
        members Int64,
        members_from LowCardinality(String),
        capacity Int64,
        scans Int64,
        per_hour Float64,
        eta_full Nullable(DateTime64(3, 'UTC'))
    ) COMMENT 'targets in order: number, members, where that count is from, capacity (0 for none), scans led there, arrivals an hour, estimated time it is full',
    INDEX by_seq stream_seq TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(stream_seq)
ORDER BY (tenant, code_id)
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'states of codes as the log wrote them; read the latest from codes';
