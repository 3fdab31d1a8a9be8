/** How many logged requests two configs decide differently. */
export interface ReplayResult {
  readonly requests: number
  readonly changes: readonly {
    readonly before: string
    readonly after: string
    readonly count: number
    readonly example: string
  }[]
  /** Requests for which something decides that the log does not have. */
  readonly notKnown: number
  readonly unreadable: number
}
