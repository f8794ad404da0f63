{# The days of received_at on which the model has not as many events as the source. #}
{% test holds_the_days_of_events(model, counted) %}
{{ segment_bigquery.different_days(model, counted, bounded=false) }}
{% endtest %}
