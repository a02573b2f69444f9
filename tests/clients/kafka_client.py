# librdkafka's OIDC, by PyPI's confluent-kafka: it requests a token for itself before it connects to a broker.
import os, time

from confluent_kafka import Producer

seen, failures = [], []


def log_oauth(error):
    failures.append(str(error))


producer = Producer(
    {
        "bootstrap.servers": "127.0.0.1:1",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanisms": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": "job",
        "sasl.oauthbearer.client.secret": os.environ.get("CLIENT_SECRET", "a secret"),
        "sasl.oauthbearer.scope": "read",
        "sasl.oauthbearer.token.endpoint.url": os.environ["ISSUER"] + "/token",
        "debug": "security",
        "error_cb": log_oauth,
    }
)
for _ in range(50):
    producer.poll(0.1)
    if failures and "oidc" in " ".join(failures).lower():
        break
print(failures)
