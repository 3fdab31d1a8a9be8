/** Intervals and timeouts of certificate management, in milliseconds unless stated; tests shorten them. */
export const timings = {
  /** How often the storage is read for changes by other instances, and renewal is checked. */
  pollInterval: 10_000,
  /** The same while a host has no certificate yet. */
  firstPollInterval: 1000,
  /** The share of a certificate's lifetime after which it is renewed. */
  renewAtShare: 2 / 3,
  /** By how much of the lifetime renewal may come earlier, so that many certificates are not renewed at once. */
  renewJitter: 1 / 20,
  /** The share of a certificate's lifetime after which it is renewed even if the CA suggests a later moment. */
  latestRenewShare: 5 / 6,
  /** How often the CA is asked when to renew, if it does not say; its Retry-After counts within these limits. */
  renewalInfoInterval: 21_600_000,
  minRenewalInfoInterval: 60_000,
  maxRenewalInfoInterval: 86_400_000,
  /** The delay after a request for that which failed. */
  renewalInfoRetry: 3_600_000,
  /** The delay after the first failure, which doubles with each further one. */
  firstRetryDelay: 60_000,
  maxRetryDelay: 86_400_000,
  /** The timeout of one order. */
  orderTimeout: 600_000,
  /** When a lock expires that is not extended. */
  lockLifetime: 30_000,
  lockExtendInterval: 10_000,
  /** How long the response to a challenge is stored. */
  challengeLifetime: 3_600_000,
  /** The first delay between two polls of an order; it grows by half each time. */
  orderPollInterval: 250,
  maxOrderPollInterval: 10_000,
  /** The timeout of one request to the CA. */
  requestTimeout: 30_000
}
