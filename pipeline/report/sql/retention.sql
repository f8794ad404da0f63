-- The contacts that were first identified in each week, and how many of them had an event so many weeks later.
SELECT
  cohort.week AS first_week,
  DATE_DIFF(activity.week, cohort.week, DAY) AS days_later,
  COUNT(DISTINCT cohort.external_id) AS people
FROM (
  SELECT external_id, CAST(DATE_TRUNC(DATE(first_identified_at), ISOWEEK) AS DATE) AS week
  FROM contacts
  WHERE first_identified_at >= TIMESTAMP_MICROS(@since) AND first_identified_at < TIMESTAMP_MICROS(@until)
) AS cohort
JOIN (
  SELECT DISTINCT external_id, CAST(DATE_TRUNC(DATE(timestamp), ISOWEEK) AS DATE) AS week
  FROM events_resolved
  WHERE received_at >= TIMESTAMP_MICROS(@since) AND received_at < TIMESTAMP_MICROS(@until)
) AS activity ON activity.external_id = cohort.external_id
WHERE activity.week >= cohort.week
GROUP BY first_week, days_later
ORDER BY first_week, days_later
