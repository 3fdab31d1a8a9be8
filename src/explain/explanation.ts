import type { Candidate } from './candidates.ts'
import type { ExplainedUpstream } from './upstream-request.ts'

/** What a gateway does with one request, and why. Its JSON is an interface: "version" changes when it does. */
export interface Explanation {
  readonly version: 1
  readonly request: {
    readonly method: string
    /** As it was sent, with secrets masked. */
    readonly url: string
    readonly from: string
  }
  /** How the request was read; null where its bytes are no valid request. */
  readonly normalized: {
    readonly host: string
    /** The canonical path, by which routes are found. */
    readonly path: string
    readonly scheme: string
    /** The address of the client, after trusted proxies. */
    readonly client: string
    /** What differs between the path as sent and the canonical one; empty for nothing. */
    readonly changes: readonly string[]
  } | null
  readonly candidates: readonly Candidate[]
  /** The route that the request came to; null for none. */
  readonly route: {
    readonly name: string
    /** Its place in the config; null for a route of the gateway itself. */
    readonly place: string | null
    readonly target: string | null
  } | null
  readonly gates: readonly ExplainedGate[]
  /** "unknown" where a gate's verdict is not known; the rest is what follows if it passes. */
  readonly verdict: 'forwarded' | 'answered' | 'refused' | 'unknown'
  /** The status of the response; null where it is not known, depends on what an upstream responds, or where the connection was closed without one. */
  readonly status: number | null
  /** The code of the refusal; null for none. */
  readonly code: string | null
  /** The gate that refused; null for none. */
  readonly refusedBy: string | null
  /** Why it was refused; null for none. */
  readonly detail: string | null
  /** The headers of a response that the gateway makes itself; empty for others, and for live requests. */
  readonly headers: readonly { readonly name: string; readonly value: string }[]
  /** The caller that authentication found. */
  readonly caller: { readonly id: string; readonly by: string; readonly roles: readonly string[] } | null
  /** The requests that would go to upstreams, the retries left out. */
  readonly upstreams: readonly ExplainedUpstream[]
  /** The options of time limits and retries on the route, each with its place. */
  readonly limits: readonly ExplainedOption[]
  /** What was taken for granted, because it is not known here. */
  readonly assumes: readonly string[]
}

/** A gate on the way of the request, in the order in which they run. */
export interface ExplainedGate {
  readonly gate: string
  readonly phase: string
  readonly verdict: 'passed' | 'refused' | 'answered' | 'reported' | 'unknown' | 'not reached'
  readonly code: string | null
  readonly reason: string | null
  readonly options: readonly ExplainedOption[]
}

/** A resolved option, and where it comes from. */
export interface ExplainedOption {
  readonly option: string
  /** As JSON, with secrets masked. */
  readonly value: string
  /** `file:line:column`, or "default". */
  readonly place: string
  readonly level: 'root' | 'group' | 'route' | 'default'
}
