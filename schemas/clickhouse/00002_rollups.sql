-- +goose NO TRANSACTION
-- +goose Up

-- Hourly rollups, kept when the rows they were made of have expired: they hold no identity, only sketches.
-- Their targets need a deduplication window of their own: a retried insert that the table drops still reaches the views.

CREATE TABLE IF NOT EXISTS scans_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    verdict LowCardinality(String) COMMENT 'verdict of the scans',
    rule LowCardinality(String) COMMENT 'the rule that gave the verdict',
    variant UInt8 COMMENT 'variant of the picture; 0 when unknown',
    utm_source LowCardinality(String) COMMENT 'utm_source they arrived with',
    utm_medium LowCardinality(String) COMMENT 'utm_medium they arrived with',
    utm_campaign LowCardinality(String) COMMENT 'utm_campaign they arrived with',
    province LowCardinality(String) COMMENT 'province of the network',
    os LowCardinality(String) COMMENT 'operating system',
    scans SimpleAggregateFunction(sum, UInt64) COMMENT 'scans; read it with sum()' CODEC(ZSTD(1)),
    visitors AggregateFunction(uniqCombined64, String) COMMENT 'distinct visitors; read it with uniqCombined64Merge()'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, code_id, hour, verdict, rule, variant, utm_source, utm_medium, utm_campaign, province, os)
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'scans and distinct visitors an hour, by verdict, variant, source, campaign, province and system';

CREATE MATERIALIZED VIEW IF NOT EXISTS scans_hourly_mv TO scans_hourly AS
SELECT
    toStartOfHour(ts) AS hour, tenant, code_id, verdict, rule, variant, utm_source, utm_medium, utm_campaign, province, os,
    count() AS scans,
    uniqCombined64StateIf(visitor, visitor != '') AS visitors
FROM scans
GROUP BY hour, tenant, code_id, verdict, rule, variant, utm_source, utm_medium, utm_campaign, province, os
COMMENT 'fills scans_hourly';

CREATE TABLE IF NOT EXISTS members_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    target Int32 COMMENT 'number of the target',
    kind LowCardinality(String) COMMENT 'joined, left or snapshot',
    events SimpleAggregateFunction(sum, UInt64) COMMENT 'member events; read it with sum()' CODEC(ZSTD(1)),
    visitors AggregateFunction(uniqCombined64, String) COMMENT 'distinct visitors; read it with uniqCombined64Merge()'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, code_id, hour, target, kind)
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'member events an hour, by target and kind';

CREATE MATERIALIZED VIEW IF NOT EXISTS members_hourly_mv TO members_hourly AS
SELECT
    toStartOfHour(ts) AS hour, tenant, code_id, target, kind,
    count() AS events,
    uniqCombined64StateIf(visitor, visitor != '') AS visitors
FROM members
GROUP BY hour, tenant, code_id, target, kind
COMMENT 'fills members_hourly';

CREATE TABLE IF NOT EXISTS conversions_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant of the code',
    code_id String COMMENT 'the code' CODEC(ZSTD(1)),
    name LowCardinality(String) COMMENT 'lead, sale or the producer''s own word',
    currency LowCardinality(String) COMMENT 'ISO 4217 code of the value; empty when none was given',
    events SimpleAggregateFunction(sum, UInt64) COMMENT 'conversions; read it with sum()' CODEC(ZSTD(1)),
    value SimpleAggregateFunction(sum, Decimal(38, 4)) COMMENT 'their value in whole units of the currency; read it with sum()' CODEC(ZSTD(1)),
    visitors AggregateFunction(uniqCombined64, String) COMMENT 'distinct visitors; read it with uniqCombined64Merge()'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, code_id, hour, name, currency)
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'conversions and their value an hour, by name and currency';

CREATE MATERIALIZED VIEW IF NOT EXISTS conversions_hourly_mv TO conversions_hourly AS
SELECT
    toStartOfHour(ts) AS hour, tenant, code_id, name, currency,
    count() AS events,
    sum(value) AS value,
    uniqCombined64StateIf(visitor, visitor != '') AS visitors
FROM conversions
GROUP BY hour, tenant, code_id, name, currency
COMMENT 'fills conversions_hourly';

CREATE TABLE IF NOT EXISTS forged_hourly
(
    hour DateTime('UTC') COMMENT 'start of the hour' CODEC(Delta, ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'empty: a forged scan names no code',
    scans SimpleAggregateFunction(sum, UInt64) COMMENT 'forged scans; read it with sum()' CODEC(ZSTD(1)),
    networks AggregateFunction(uniqCombined64, String) COMMENT 'distinct networks they came from; read it with uniqCombined64Merge()'
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (tenant, hour)
SETTINGS non_replicated_deduplication_window = ${window}
COMMENT 'forged scans an hour';

CREATE MATERIALIZED VIEW IF NOT EXISTS forged_hourly_mv TO forged_hourly AS
SELECT
    toStartOfHour(ts) AS hour, tenant,
    sum(count) AS scans,
    uniqCombined64State(network) AS networks
FROM forged
GROUP BY hour, tenant
COMMENT 'fills forged_hourly';
