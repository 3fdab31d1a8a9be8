/** How time passes for certificates, in milliseconds and shares; one place, so that a test may live faster. */
export const timings = {
  /** How often the storage is looked at for what other instances have done, and the clock for what is due. */
  look: 10_000,
  /** The same while a host has no certificate at all. */
  lookEagerly: 1000,
  /** When a certificate is renewed, as a share of its life, and by how much earlier at most, so that many don't come at once. */
  renewAt: 2 / 3,
  renewEarlier: 1 / 20,
  /** The wait after the first failure, which doubles with each further one. */
  firstWait: 60_000,
  longestWait: 86_400_000,
  /** How long one order may take. */
  order: 600_000,
  /** How long a lock holds that nobody extends, and how often it is extended. */
  lock: 30_000,
  extend: 10_000,
  /** How long the answer to a challenge is kept. */
  answer: 3_600_000,
  /** The wait before the authority is asked again whether it is ready; it grows by half each time. */
  ask: 250,
  askSlowest: 10_000,
  /** How long the authority may take for one answer. */
  reply: 30_000
}
