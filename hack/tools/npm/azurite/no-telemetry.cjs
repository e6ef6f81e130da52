// In the place of the telemetry library, which is most of the program's weight.
module.exports = {};
