/** Why a request went to the upstream (RFC 9211 section 2.2). */
export type ForwardReason = 'bypass' | 'method' | 'uri-miss' | 'vary-miss' | 'miss' | 'request' | 'stale'

/** What the cache did with a request. */
export interface CacheStatus {
  readonly hit?: boolean
  readonly fwd?: ForwardReason
  /** The status of the upstream's response, where the client gets another one. */
  readonly fwdStatus?: number
  /** How long the response is still fresh, in ms; negative where it is stale. */
  readonly ttl?: number
  readonly stored?: boolean
  readonly collapsed?: boolean
  /** A token. */
  readonly detail?: string
}

/** Writes a member of the Cache-Status field (RFC 9211). */
export function writeCacheStatus({
  hit,
  fwd,
  fwdStatus,
  ttl,
  stored,
  collapsed,
  detail
}: CacheStatus): string {
  let member = 'sallyport'
  if (hit === true) member += '; hit'
  if (fwd !== undefined) member += `; fwd=${fwd}`
  if (fwdStatus !== undefined) member += `; fwd-status=${fwdStatus}`
  if (ttl !== undefined) member += `; ttl=${Math.floor(ttl / 1000)}`
  if (stored === true) member += '; stored'
  if (collapsed === true) member += '; collapsed'
  if (detail !== undefined) member += `; detail=${detail}`
  return member
}
