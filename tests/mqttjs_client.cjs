// A client for tests: connects, subscribes, publishes to itself, prints what came as JSON.
// Arguments: the broker's URL, the protocol version (3, 4 or 5), topic, QoS, payload.
const mqtt = require("mqtt");

const [url, version, topic, qos, payload] = process.argv.slice(2);
const client = mqtt.connect(url, {
  protocolVersion: Number(version),
  protocolId: version === "3" ? "MQIsdp" : "MQTT",
  reconnectPeriod: 0,
  connectTimeout: 10000,
});

const fail = (error) => {
  console.error(String(error));
  process.exit(1);
};

client.on("error", fail);
client.on("message", (name, body, packet) => {
  console.log(JSON.stringify({ topic: name, payload: body.toString(), qos: packet.qos }));
  client.end();
});
client.on("connect", async () => {
  const [granted] = await client.subscribeAsync(topic, { qos: Number(qos) }).catch(fail);
  if (granted.qos !== Number(qos)) fail(`granted ${granted.qos}`);
  await client.publishAsync(topic, payload, { qos: Number(qos) }).catch(fail);
});
