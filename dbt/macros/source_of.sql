{# The host of an address, without `www.`. #}
{% macro host_of(url) -%}
  {{ segment_bigquery.extracted('lower(' ~ url ~ ')', '^https?://(?:www[.])?([^/?#:]+)') }}
{%- endmacro %}

{# Where a visit came from: the campaign's source, else the referring site, else `direct`. #}
{% macro source_of(referrer, url, utm_source) -%}
  coalesce({{ utm_source }}, nullif({{ segment_bigquery.host_of(referrer) }}, coalesce({{ segment_bigquery.host_of(url) }}, '')), 'direct')
{%- endmacro %}

{# How: the campaign's medium, else `campaign`, `referral` or `direct`. #}
{% macro medium_of(referrer, url, utm_source, utm_medium) -%}
  case
      when {{ utm_medium }} is not null then {{ utm_medium }}
      when {{ utm_source }} is not null then 'campaign'
      when nullif({{ segment_bigquery.host_of(referrer) }}, coalesce({{ segment_bigquery.host_of(url) }}, '')) is not null then 'referral'
      else 'direct'
  end
{%- endmacro %}
