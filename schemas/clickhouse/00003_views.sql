-- +goose NO TRANSACTION
-- +goose Up

-- FINAL makes it one row a code whatever has been merged so far.
CREATE VIEW IF NOT EXISTS codes AS
SELECT * FROM codes_log FINAL
COMMENT 'every code as it now is, one row each';

-- A join or conversion belongs to the scan its click_id names, else to its visitor's last scan of that code in the 30 days before, else
-- to the code alone. Each campaign field is the scan's own, else the code's. The day is the day on which each thing happened, in UTC, so
-- that a past day never changes. Values of different currencies are not added: value is NULL then and value_by_currency has them apart.
CREATE VIEW IF NOT EXISTS attribution AS
WITH
    touches AS
    (
        SELECT
            s.tenant AS tenant, s.code_id AS code_id, s.visitor AS visitor, s.click_id AS click_id, s.ts AS ts, s.verdict AS verdict,
            (s.stream_seq, s.idx) AS place,
            if(s.utm_campaign != '', s.utm_campaign, c.campaign)::String AS campaign,
            if(s.utm_source != '', s.utm_source, c.source)::String AS source,
            if(s.utm_medium != '', s.utm_medium, c.medium)::String AS medium
        FROM scans AS s
        LEFT JOIN codes AS c ON c.tenant = s.tenant AND c.code_id = s.code_id
        WHERE s.verdict IN ('accepted', 'duplicate')
    ),
    clicks AS
    (
        SELECT tenant, code_id, click_id, argMax((campaign, source, medium), (ts, place)) AS led
        FROM touches WHERE click_id != '' GROUP BY tenant, code_id, click_id
    ),
    visits AS
    (
        SELECT tenant, code_id, visitor, ts, argMax((campaign, source, medium), place) AS led
        FROM touches WHERE visitor != '' GROUP BY tenant, code_id, visitor, ts
    ),
    acts AS
    (
        SELECT tenant, code_id, ts, visitor, click_id, 'join' AS act, 0::Decimal(38, 4) AS value, '' AS currency
        FROM members WHERE kind = 'joined'
        UNION ALL
        SELECT tenant, code_id, ts, visitor, click_id, name::String AS act, value::Decimal(38, 4) AS value, currency::String AS currency
        FROM conversions
    ),
    attributed AS
    (
        SELECT
            a.tenant AS tenant, a.code_id AS code_id, a.ts AS ts, a.act AS act, a.value AS value, a.currency AS currency,
            multiIf(
                k.click_id != '', k.led,
                v.visitor != '' AND v.ts >= a.ts - INTERVAL 30 DAY, v.led,
                (c.campaign::String, c.source::String, c.medium::String)) AS led
        FROM acts AS a
        LEFT JOIN clicks AS k ON k.tenant = a.tenant AND k.code_id = a.code_id AND k.click_id = a.click_id
        ASOF LEFT JOIN visits AS v ON v.tenant = a.tenant AND v.code_id = a.code_id AND v.visitor = a.visitor AND v.ts <= a.ts
        LEFT JOIN codes AS c ON c.tenant = a.tenant AND c.code_id = a.code_id
    ),
    parts AS
    (
        SELECT
            tenant, code_id, campaign, source, medium, toDate(ts) AS day,
            count() AS accepted, uniqExactIf(visitor, visitor != '') AS unique,
            0::UInt64 AS joins, 0::UInt64 AS leads, 0::UInt64 AS sales, map()::Map(String, Decimal(38, 4)) AS worth
        FROM touches WHERE verdict = 'accepted'
        GROUP BY tenant, code_id, campaign, source, medium, day
        UNION ALL
        SELECT
            tenant, code_id, led.1 AS campaign, led.2 AS source, led.3 AS medium, toDate(ts) AS day,
            0::UInt64 AS accepted, 0::UInt64 AS unique,
            countIf(act = 'join') AS joins, countIf(act = 'lead') AS leads, countIf(act = 'sale') AS sales,
            sumMapIf(map(currency, value), currency != '')::Map(String, Decimal(38, 4)) AS worth
        FROM attributed
        GROUP BY tenant, code_id, campaign, source, medium, day
    )
SELECT
    tenant, campaign, source, medium, code_id, day,
    sum(p.accepted) AS accepted, sum(p.unique) AS unique, sum(p.joins) AS joins, sum(p.leads) AS leads, sum(p.sales) AS sales,
    if(length(sumMap(p.worth)) > 1, NULL, arraySum(mapValues(sumMap(p.worth)))) AS value,
    sumMap(p.worth) AS value_by_currency
FROM parts AS p
GROUP BY tenant, campaign, source, medium, code_id, day
COMMENT 'accepted scans, unique visitors, joins, leads, sales and value by campaign, source, medium, code and day';

CREATE VIEW IF NOT EXISTS heatmap AS
SELECT
    toDayOfWeek(ts, 0, {tz:String}) AS weekday,
    toHour(ts, {tz:String}) AS hour,
    count() AS scans,
    uniqExactIf(visitor, visitor != '') AS visitors
FROM scans
WHERE verdict = 'accepted' AND ({code:String} = '' OR code_id = {code:String})
GROUP BY weekday, hour
ORDER BY weekday, hour
COMMENT 'accepted scans of a code, or of all with an empty one, by weekday (1 is Monday) and hour in a time zone: heatmap(tz=, code=)';

-- Each visitor is one trial, in the arm of the first variant they scanned, so that arms are independent; a scan that names no visitor is a
-- trial of its own. A success is a trial that joined at or after that scan.
-- Lift is the relative one, p/p1 - 1, its 95 % interval from the delta method on the log ratio: ln(p/p1) +- 1.96 sqrt((1-p1)/x1 + (1-p)/x)
-- (Katz et al., Biometrics 34, 1978). p_value is two-sided, of the two-proportion z-test with pooled variance (Fleiss, Statistical Methods
-- for Rates and Proportions, 2.3). The split check is a chi-square test against equal shares with k - 1 degrees of freedom (upper tail in
-- closed form: Abramowitz and Stegun 26.4.4, 26.4.5), suspicious below 0.001 (Kohavi, Tang, Xu, Trustworthy Online Controlled Experiments, 21).
CREATE VIEW IF NOT EXISTS ab_test AS
WITH
    touches AS
    (
        SELECT
            variant, ts, verdict, visitor, click_id, (ts, stream_seq, idx) AS place,
            multiIf(visitor != '', 'visitor ' || visitor, click_id != '', 'click ' || click_id, 'event ' || event_id) AS unit
        FROM scans
        WHERE code_id = {code:String} AND variant > 0 AND verdict IN ('accepted', 'duplicate')
    ),
    clicks AS (SELECT click_id, argMax(unit, place) AS unit FROM touches WHERE click_id != '' GROUP BY click_id),
    trials AS
    (
        SELECT unit, argMin(variant, place) AS variant, min(ts) AS since
        FROM touches WHERE verdict = 'accepted' GROUP BY unit
    ),
    joined AS
    (
        SELECT multiIf(k.click_id != '', k.unit, 'visitor ' || m.visitor) AS unit, max(m.ts) AS last
        FROM members AS m
        LEFT JOIN clicks AS k ON k.click_id = m.click_id
        WHERE m.code_id = {code:String} AND m.kind = 'joined' AND (m.visitor != '' OR k.click_id != '')
        GROUP BY unit
    ),
    arms AS
    (
        SELECT t.variant AS variant, count() AS n, countIf(j.unit != '' AND j.last >= t.since) AS x
        FROM trials AS t
        LEFT JOIN joined AS j ON j.unit = t.unit
        GROUP BY variant
    ),
    seen AS
    (
        SELECT variant, count() AS scans, uniqExactIf(visitor, visitor != '') AS unique
        FROM touches WHERE verdict = 'accepted' GROUP BY variant
    ),
    compared AS
    (
        SELECT
            s.variant AS variant, s.scans AS scans, s.unique AS unique, a.n AS n, a.x AS x,
            first_value(a.n) OVER w AS n1, first_value(a.x) OVER w AS x1,
            sum(a.n) OVER w AS total, count() OVER w AS k,
            sum(pow(a.n, 2)) OVER w AS squares,
            row_number() OVER (ORDER BY s.variant) AS nth
        FROM seen AS s
        LEFT JOIN arms AS a ON a.variant = s.variant
        WINDOW w AS (ORDER BY s.variant ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ),
    tested AS
    (
        SELECT
            *,
            x / nullIf(n, 0) AS p, x1 / nullIf(n1, 0) AS p1,
            (x + x1) / nullIf(n + n1, 0) AS pooled,
            if(nth = 1 OR x = 0 OR x1 = 0, NULL, log(p / p1)) AS log_ratio,
            sqrt((1 - p) / nullIf(x, 0) + (1 - p1) / nullIf(x1, 0)) AS log_ratio_se,
            if(nth = 1, NULL, (p - p1) / nullIf(sqrt(pooled * (1 - pooled) * (1 / nullIf(n, 0) + 1 / nullIf(n1, 0))), 0)) AS z_score,
            k - 1 AS df,
            if(k < 2, NULL, squares * k / total - total) AS chi2,
            ifNull(chi2, 0) / 2 AS half
        FROM compared
    )
SELECT
    variant,
    NULL::Nullable(UInt64) AS impressions,
    scans, unique, n AS trials, x AS joins,
    p AS conversion,
    if(nth = 1, NULL, p / nullIf(p1, 0) - 1) AS lift,
    exp(log_ratio - 1.959963984540054 * log_ratio_se) - 1 AS lift_low,
    exp(log_ratio + 1.959963984540054 * log_ratio_se) - 1 AS lift_high,
    z_score,
    erfc(abs(z_score) / sqrt(2)) AS p_value,
    chi2 AS split_chi2,
    if(chi2 IS NULL, NULL, if(df % 2 = 0,
        exp(-half) * arraySum(i -> pow(half, i) / tgamma(i + 1), range(toUInt32(intDiv(df, 2)))),
        erfc(sqrt(half)) + exp(-half) * arraySum(i -> pow(half, i - 0.5) / tgamma(i + 0.5), range(1, toUInt32(intDiv(df + 1, 2)))))
    ) AS split_p_value,
    ifNull(split_p_value < 0.001, false) AS split_suspicious
FROM tested
ORDER BY variant
COMMENT 'variants of a code: scans, unique, joins, conversion, lift over the first with 95 % interval and p-value, and whether the split looks wrong: ab_test(code=)';

CREATE VIEW IF NOT EXISTS first_scans AS
SELECT
    tenant, code_id, variant, tracking,
    min(ts) AS first_at,
    argMin(event_id, (ts, stream_seq, idx)) AS first_event_id,
    argMin(device_model, (ts, stream_seq, idx)) AS first_device_model,
    argMin(province, (ts, stream_seq, idx)) AS first_province
FROM scans
WHERE verdict = 'accepted'
GROUP BY tenant, code_id, variant, tracking
COMMENT 'the first accepted scan of each code and picture: when, device model, province';

CREATE VIEW IF NOT EXISTS capacity AS
SELECT
    tenant, code_id, name, status,
    t_n AS target, t_n = current AS is_current,
    t_members AS members, t_from AS members_from, t_capacity AS capacity,
    if(t_capacity = 0, NULL, round(100 * t_members / t_capacity, 2)) AS percent,
    t_per_hour AS per_hour,
    t_eta AS eta_full,
    if(t_eta IS NULL, NULL, greatest(0, dateDiff('second', now64(3, 'UTC'), assumeNotNull(t_eta)))) AS seconds_to_full,
    ts AS as_of
FROM codes
ARRAY JOIN
    targets.n AS t_n, targets.members AS t_members, targets.members_from AS t_from, targets.capacity AS t_capacity,
    targets.per_hour AS t_per_hour, targets.eta_full AS t_eta
COMMENT 'members, capacity, per cent and estimated time to full of every target';

-- A visitor is whoever the keyed hash says, or, where it is not known, whoever made the click. Steps follow in this order, all within 30 days
-- of the scan they began with.
CREATE VIEW IF NOT EXISTS funnel AS
WITH
    touches AS
    (
        SELECT
            ts, verdict, click_id, (ts, stream_seq, idx) AS place,
            multiIf(visitor != '', 'visitor ' || visitor, click_id != '', 'click ' || click_id, 'event ' || event_id) AS unit
        FROM scans
        WHERE code_id = {code:String} AND verdict IN ('accepted', 'duplicate')
    ),
    clicks AS (SELECT click_id, argMax(unit, place) AS unit FROM touches WHERE click_id != '' GROUP BY click_id),
    later AS
    (
        SELECT ts, click_id, visitor, 2 AS step FROM members WHERE code_id = {code:String} AND kind = 'joined'
        UNION ALL
        SELECT ts, click_id, visitor, if(name = 'lead', 3, 4) AS step FROM conversions WHERE code_id = {code:String} AND name IN ('lead', 'sale')
    ),
    walked AS
    (
        SELECT unit, ts, 1 AS step FROM touches WHERE verdict = 'accepted'
        UNION ALL
        SELECT if(k.click_id != '', k.unit, 'visitor ' || l.visitor) AS unit, l.ts AS ts, l.step AS step
        FROM later AS l
        LEFT JOIN clicks AS k ON k.click_id = l.click_id
        WHERE k.click_id != '' OR l.visitor != ''
    ),
    levels AS
    (
        SELECT unit, windowFunnel(2592000000)(toUInt64(toUnixTimestamp64Milli(ts)), step = 1, step = 2, step = 3, step = 4) AS level
        FROM walked GROUP BY unit
    ),
    reached AS (SELECT [countIf(level >= 1), countIf(level >= 2), countIf(level >= 3), countIf(level >= 4)] AS n FROM levels)
SELECT
    s AS step,
    ['scan', 'join', 'lead', 'sale'][s] AS name,
    n[s] AS visitors,
    n[s] / nullIf(n[1], 0) AS of_scans,
    if(s = 1, NULL, n[s] / nullIf(n[s - 1], 0)) AS of_previous
FROM reached
ARRAY JOIN [1, 2, 3, 4] AS s
ORDER BY step
COMMENT 'visitors of a code who went from scan to join to lead to sale within 30 days: funnel(code=)';

-- From the rollups, so that it is quick over years. visitors is an estimate (uniqCombined64, error below 1 %).
CREATE VIEW IF NOT EXISTS verdicts AS
SELECT hour, tenant, verdict::String AS verdict, rule::String AS rule, sum(h.scans) AS scans, uniqCombined64Merge(h.visitors) AS visitors
FROM scans_hourly AS h
GROUP BY hour, tenant, verdict, rule
UNION ALL
SELECT hour, tenant, 'forged' AS verdict, 'forged' AS rule, sum(f.scans) AS scans, 0::UInt64 AS visitors
FROM forged_hourly AS f
GROUP BY hour, tenant
COMMENT 'scans by verdict and rule, by hour, forged ones included';

-- The log's account, the commit records, against what is stored. A row's identity is its place in the log (partition, stream_seq, idx): a
-- producer may use an event id again, the log may not use a place again. Rows of steps whose commit record is not stored yet are left out,
-- as commits is written last. Where rows expire, only what cannot have expired yet is compared, and the account starts at the oldest record
-- kept; else it starts at step 1, so that a lost first step is missed too.
CREATE VIEW IF NOT EXISTS reconcile_tables AS
WITH
    (SELECT toUInt32OrZero(extract(engine_full, 'toIntervalDay\\((\\d+)\\)')) FROM system.tables WHERE database = '${database}' AND name = 'commits') AS days,
    if(days = 0, toDateTime64(0, 3, 'UTC'), now64(3, 'UTC') - toIntervalDay(days) + INTERVAL 1 MINUTE) AS since,
    accounts AS
    (
        SELECT
            partition, max(step) AS last_step, max(commit_seq) AS last_commit,
            argMax(reached_seq, step) AS reached_seq, argMax(reached_idx, step) AS reached_idx, argMax(reached_more, step) AS reached_more,
            if(days = 0, max(step), max(step) - min(step) + 1) - uniqExact(step) AS gaps,
            [
            ('scans', argMax(total_scans, step) - if(days = 0, 0, argMin(total_scans - step_scans, step))),
            ('members', argMax(total_members, step) - if(days = 0, 0, argMin(total_members - step_members, step))),
            ('conversions', argMax(total_conversions, step) - if(days = 0, 0, argMin(total_conversions - step_conversions, step))),
            ('forged', argMax(total_forged, step) - if(days = 0, 0, argMin(total_forged - step_forged, step))),
            ('alerts', argMax(total_alerts, step) - if(days = 0, 0, argMin(total_alerts - step_alerts, step))),
            ('decisions', argMax(total_decisions, step) - if(days = 0, 0, argMin(total_decisions - step_decisions, step)))
            ] AS decided
        FROM commits WHERE ingested_at >= since GROUP BY partition
    ),
    stored AS
    (
        SELECT partition, 'scans' AS `table`, count() AS ids, sum(n) AS rows
        FROM (
            SELECT r.partition AS partition, r.stream_seq AS stream_seq, r.idx AS idx, count() AS n
            FROM scans AS r INNER JOIN accounts AS a ON a.partition = r.partition
            WHERE r.ingested_at >= since AND (r.stream_seq < a.reached_seq OR r.stream_seq = a.reached_seq AND (NOT a.reached_more OR r.idx <= a.reached_idx))
            GROUP BY partition, stream_seq, idx
        ) GROUP BY partition
        UNION ALL
        SELECT partition, 'members' AS `table`, count() AS ids, sum(n) AS rows
        FROM (
            SELECT r.partition AS partition, r.stream_seq AS stream_seq, r.idx AS idx, count() AS n
            FROM members AS r INNER JOIN accounts AS a ON a.partition = r.partition
            WHERE r.ingested_at >= since AND (r.stream_seq < a.reached_seq OR r.stream_seq = a.reached_seq AND (NOT a.reached_more OR r.idx <= a.reached_idx))
            GROUP BY partition, stream_seq, idx
        ) GROUP BY partition
        UNION ALL
        SELECT partition, 'conversions' AS `table`, count() AS ids, sum(n) AS rows
        FROM (
            SELECT r.partition AS partition, r.stream_seq AS stream_seq, r.idx AS idx, count() AS n
            FROM conversions AS r INNER JOIN accounts AS a ON a.partition = r.partition
            WHERE r.ingested_at >= since AND (r.stream_seq < a.reached_seq OR r.stream_seq = a.reached_seq AND (NOT a.reached_more OR r.idx <= a.reached_idx))
            GROUP BY partition, stream_seq, idx
        ) GROUP BY partition
        UNION ALL
        SELECT partition, 'forged' AS `table`, count() AS ids, sum(n) AS rows
        FROM (
            SELECT r.partition AS partition, r.stream_seq AS stream_seq, r.idx AS idx, count() AS n
            FROM forged AS r INNER JOIN accounts AS a ON a.partition = r.partition
            WHERE r.ingested_at >= since AND (r.stream_seq < a.reached_seq OR r.stream_seq = a.reached_seq AND (NOT a.reached_more OR r.idx <= a.reached_idx))
            GROUP BY partition, stream_seq, idx
        ) GROUP BY partition
        UNION ALL
        SELECT partition, 'alerts' AS `table`, count() AS ids, sum(n) AS rows
        FROM (
            SELECT r.partition AS partition, r.stream_seq AS stream_seq, r.idx AS idx, count() AS n
            FROM alerts AS r INNER JOIN accounts AS a ON a.partition = r.partition
            WHERE r.ingested_at >= since AND r.stream_seq <= a.last_commit
            GROUP BY partition, stream_seq, idx
        ) GROUP BY partition
        UNION ALL
        SELECT partition, 'decisions' AS `table`, count() AS ids, sum(n) AS rows
        FROM (
            SELECT r.partition AS partition, r.stream_seq AS stream_seq, r.idx AS idx, count() AS n
            FROM decisions AS r INNER JOIN accounts AS a ON a.partition = r.partition
            WHERE r.ingested_at >= since AND r.stream_seq <= a.last_commit
            GROUP BY partition, stream_seq, idx
        ) GROUP BY partition
    )
SELECT
    d.partition AS partition, d.last_step AS last_step, d.gaps AS gaps, d.name AS `table`, d.n AS decided,
    s.rows AS rows, s.ids AS ids,
    toInt64(d.n) - toInt64(s.ids) AS missing,
    s.rows - s.ids AS doubled
FROM (SELECT partition, last_step, gaps, entry.1 AS name, entry.2 AS n FROM accounts ARRAY JOIN decided AS entry) AS d
LEFT JOIN stored AS s ON s.partition = d.partition AND s.`table` = d.name
ORDER BY partition, `table`
COMMENT 'reconcile, table by table';

-- missing and doubled are added up so that one table cannot make good for another. unknown are rows the log has not decided.
CREATE VIEW IF NOT EXISTS reconcile AS
SELECT
    partition,
    any(t.last_step) AS last_step,
    sum(t.decided) AS decided,
    sum(t.rows) AS rows,
    sum(t.ids) AS ids,
    any(t.gaps) AS gaps,
    sum(greatest(t.missing, 0)) AS missing,
    sum(t.doubled) AS doubled,
    sum(greatest(-t.missing, 0)) AS unknown
FROM reconcile_tables AS t
GROUP BY partition
ORDER BY partition
COMMENT 'per partition: events the log has decided, rows stored, distinct ids, gaps in steps; missing and doubled are 0 when nothing was lost or doubled';
