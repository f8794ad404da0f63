-- The account of each person's newest membership, an explicit one before a fallback.
SELECT external_id, account_id
FROM memberships
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY external_id
    ORDER BY account_source = 'email_domain', last_named_at DESC, account_id DESC
  ) = 1
