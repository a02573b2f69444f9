# librdkafka's OIDC, by PyPI's confluent-kafka: it requests a token for itself before it connects to a broker.
import os

from confluent_kafka import Producer

lines = []


class Log:
    def log(self, level, text, *values):
        lines.append(text % values)


settings = {
    "bootstrap.servers": "127.0.0.1:1",
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanisms": "OAUTHBEARER",
    "sasl.oauthbearer.method": "oidc",
    "sasl.oauthbearer.client.id": "job",
    "sasl.oauthbearer.client.secret": os.environ["CLIENT_SECRET"],
    "sasl.oauthbearer.scope": "read",
    "sasl.oauthbearer.token.endpoint.url": os.environ["ISSUER"] + "/token",
    "debug": "security",
}
producer = Producer(settings, logger=Log())
result = "no result"
for _ in range(100):
    producer.poll(0.1)
    text = "\n".join(lines)
    if "after setting OAUTHBEARER token" in text:
        result = "works"
    elif "Failed to retrieve OIDC token" in text:
        result = "refused: " + text
    else:
        continue
    break
print(result, flush=True)
os._exit(0)  # the broker does not exist
