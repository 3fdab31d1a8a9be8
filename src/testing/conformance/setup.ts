import type { Concern, Target } from '../../kit/index.ts'
import type { TestScope } from '../scope.ts'

/** A concern or a target, as `import * as module` gives it. */
export type ConformanceModule = Concern | Target

/** A request to a gateway: a path for a GET, or more. */
export type ConformanceRequest =
  | string
  | {
      readonly path: string
      readonly method?: string
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
      /** Whether it gets no response before the next request is sent, such as one that occupies the only place. */
      readonly pending?: boolean
    }

/** What the checks need to know of a module. */
export interface ConformanceSetup {
  /** A config that sets the module's options, at the root or on a route; or a function that makes one, for example with the URL of an upstream. */
  readonly config: object | ((t: TestScope) => object | Promise<object>)
  /** A request that is answered; "/" by default. It is sent a few times to one gateway. */
  readonly passed?: ConformanceRequest
  /** A request that the gate refuses; of several, the last one is refused. Needed for gates alone. */
  readonly refused?: ConformanceRequest | readonly ConformanceRequest[]
  /** The environment variables that the config sees; none by default. */
  readonly env?: Readonly<Record<string, string>>
}

/** A promise of a module to the gateway and to those who configure it. */
export interface ConformanceCheck {
  /** What it checks, such as "the schema describes every option". */
  readonly name: string
  /** Rejects with what to change in the module. */
  run(t: TestScope): Promise<void>
}
