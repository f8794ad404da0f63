-- of the GoogleSQL whose SHA-256 is 91f493da9709d4ab270a3f7aa0ed98587e3b82122b15fbe7bbb9defc22369004
SELECT
  event.*,
  COALESCE(identity.external_id, event.user_id, event.anonymous_id) AS external_id,
  COALESCE(named.company_id, own.company_id, contact.account_id, membership.account_id) AS account_id,
  CASE
    WHEN contact.account_id IS NULL
    THEN NULL
    ELSE COALESCE(own.company_id, contact.account_id)
  END AS contact_account_id,
  contact.email,
  contact.name AS contact_name
FROM events AS event
LEFT JOIN identities AS identity
  ON identity.id = COALESCE(event.user_id, event.anonymous_id)
LEFT JOIN contacts AS contact
  ON contact.external_id = COALESCE(identity.external_id, event.user_id, event.anonymous_id)
LEFT JOIN (
  SELECT
    external_id,
    account_id
  FROM memberships
  QUALIFY
    ROW_NUMBER() OVER (
      PARTITION BY external_id
      ORDER BY account_source = 'email_domain' NULLS FIRST, last_named_at DESC, account_id DESC
    ) = 1
) AS membership
  ON membership.external_id = COALESCE(identity.external_id, event.user_id, event.anonymous_id)
LEFT JOIN (
  SELECT
    account.account_id,
    COALESCE(owner.account_id, account.account_id) AS company_id
  FROM accounts AS account
  LEFT JOIN (
    SELECT
      domain,
      MIN(account_id) AS account_id
    FROM accounts
    WHERE
      account_source <> 'email_domain' AND NOT domain IS NULL
    GROUP BY
      domain
    HAVING
      COUNT(*) = 1
  ) AS owner
    ON account.account_source = 'email_domain' AND owner.domain = account.account_id
) AS named
  ON named.account_id = event.group_id
LEFT JOIN (
  SELECT
    account.account_id,
    COALESCE(owner.account_id, account.account_id) AS company_id
  FROM accounts AS account
  LEFT JOIN (
    SELECT
      domain,
      MIN(account_id) AS account_id
    FROM accounts
    WHERE
      account_source <> 'email_domain' AND NOT domain IS NULL
    GROUP BY
      domain
    HAVING
      COUNT(*) = 1
  ) AS owner
    ON account.account_source = 'email_domain' AND owner.domain = account.account_id
) AS own
  ON own.account_id = COALESCE(contact.account_id, membership.account_id)
