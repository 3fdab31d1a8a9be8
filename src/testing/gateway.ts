import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import type { GatewayConfig } from '../gateway/define.ts'
import type { Fetch } from './client.ts'
import type { TestLog } from './log.ts'
import type { TestScope } from './scope.ts'
import { startGateway } from './start-gateway.ts'

/** How a gateway of a test is started. */
export interface GatewayTestOptions {
  /** The environment variables that its config sees; none by default. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The folder that names of files in a config object are relative to; the working directory by default. */
  readonly folder?: string
  /** Whether it serves HTTPS, with a certificate that its clients trust, and HTTP/2. */
  readonly https?: boolean
  /** The lowest level of the lines in `log`; "info" by default. */
  readonly level?: string
  /** Whether the verdict of each gate is recorded on `request.trace`. */
  readonly trace?: boolean
}

/** A gateway that listens on a port. */
export interface TestGateway {
  /** Its origin, such as http://127.0.0.1:40123. */
  readonly url: string
  /** The Fastify instance that serves now; a reload replaces it. */
  readonly app: FastifyInstance
  /** Its log. */
  readonly log: TestLog
  /** Sends a request over HTTP/1.1, to a path; redirects are not followed. */
  readonly fetch: Fetch
  /** Sends a request over HTTP/2, to a path; only with `https`. */
  readonly http2: Fetch
  /** Passes a request to Fastify without a socket; it normalizes the path first (`/a/../b` becomes `/b`). */
  inject(request: InjectOptions | string): Promise<LightMyRequestResponse>
  /** Replaces its config, or reads the same one again; rejects with a ConfigError, and then the former config stays. */
  reload(config?: GatewayConfig | object | string): Promise<void>
  /** Stops it before the end of the test. */
  close(): Promise<void>
}

/** Starts the gateway of a config, an object or a file, on a free port until the end of a test. It is loaded, checked and served as by the command line, in this process. */
export const gateway = (
  t: TestScope,
  config: GatewayConfig | object | string,
  options: GatewayTestOptions = {}
): Promise<TestGateway> => startGateway(t, config, options)
