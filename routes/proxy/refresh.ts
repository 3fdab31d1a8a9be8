import type { FastifyRequest } from 'fastify'
import type { CacheFill } from '../../src/lib/contracts/cache.ts'
import type {
  AnswerListener,
  BodyAction,
  OutboundRequest,
  PendingRequest,
  ResponseExtent,
  UpstreamTarget
} from '../../src/lib/contracts/upstream.ts'
import { Deadline } from '../../src/lib/deadline.ts'
import { guarded } from '../../src/lib/guarded.ts'
import { headForHost } from '../../src/lib/http/flat-head.ts'
import { DeadlineExceeded } from '../../src/lib/refusals.ts'
import type { CachedPlans } from './cached-plans.ts'
import type { ForwardPlan, PreparedRequest } from './plan.ts'
import { logFailure, stageRefusal } from './refusals.ts'
import type { UpstreamHead } from './response-head.ts'
import { StagedResponse } from './staged-response.ts'

/** What renews a stored response. */
export interface RefreshPlan {
  readonly fill: CacheFill
  readonly plans: CachedPlans
  readonly forward: ForwardPlan
  /** Called once when it is over. */
  onOver(refresh: Refresh): void
}

// The time limit where the route has none, in ms.
const TIMEOUT_MS = 60_000

/** Renews a stored response in the background, without a client. */
export class Refresh implements OutboundRequest, AnswerListener {
  readonly source: FastifyRequest
  readonly method = 'GET'
  readonly path: string
  readonly idempotent = true
  readonly body = null
  readonly deadline: Deadline
  readonly #prepared: PreparedRequest
  readonly #plan: RefreshPlan
  #sent: PendingRequest | undefined
  #before: StagedResponse | undefined
  #isOver = false

  constructor(source: FastifyRequest, prepared: PreparedRequest, plan: RefreshPlan) {
    this.source = source
    this.path = prepared.path
    this.#prepared = prepared
    this.#plan = plan
    this.deadline = new Deadline(Math.max(1, source.deadline?.remaining ?? TIMEOUT_MS))
    plan.fill.drained = () => {
      if (this.#before === undefined) this.#sent?.resume()
      else this.#before.resume()
    }
  }

  /** Sends the request. */
  start(): void {
    const { upstream, policy } = this.#prepared.route
    this.deadline.enforce(onDeadline, this)
    this.#sent = upstream.send(this, policy, this)
    if (this.#isOver) this.#sent.end()
  }

  /** Gives up. */
  abort(error: Error): void {
    if (this.#isOver) return
    this.#fail()
    this.#sent?.abort(error)
  }

  headersFor(target: UpstreamTarget): readonly string[] {
    const { head } = this.#prepared
    const preserved = this.#plan.forward.requestHeadOptions.preserveHost ? head[1] : ''
    return headForHost(head, preserved || target.host)
  }

  onHeaders(
    target: UpstreamTarget,
    status: number,
    fields: readonly string[],
    statusText: string,
    extent: ResponseExtent
  ): BodyAction {
    if (this.#isOver) return 'drain'
    if (this.#plan.forward.fallback?.replaces(status) === true) {
      this.#plan.fill.discard(status)
      this.#finish()
      return 'drain'
    }
    const endStream = extent === 'headers' || status === 204 || status === 304
    const head: UpstreamHead = { status, statusText, fields, endStream, stickyCookie: undefined }
    const { source } = this.#plan.forward.responseHeadFor(target)
    const fillFrom = (changed: UpstreamHead): undefined => {
      const seen = this.#plan.fill.head({ status: changed.status, fields: changed.fields, source })
      // The rest of the upstream's response is of no use.
      if (seen.kind === 'stored') this.#finish()
    }
    const staged = new StagedResponse(head, {
      onStagedHead: fillFrom,
      onStagedData: (chunk) => this.#write(chunk),
      onStagedEnd: () => this.#complete(),
      onStagedDrain: () => this.#sent?.resume(),
      onStagedError: (error) => this.abort(stageRefusal(this.source, error))
    })
    if (staged.start(this.#plan.plans.before, this.source)) this.#before = staged
    else {
      fillFrom(staged.head)
      if (endStream) this.#complete()
    }
    return this.#isOver ? 'drain' : 'forward'
  }

  onCompleteBody(body: string): void {
    this.onData(Buffer.from(body, 'latin1'))
    this.onComplete()
  }

  onData(chunk: Buffer): boolean {
    return this.#before === undefined ? this.#write(chunk) : this.#before.write(chunk)
  }

  #write(chunk: Buffer): boolean {
    return this.#isOver || this.#plan.fill.write(chunk)
  }

  onComplete(): void {
    if (this.#before === undefined) this.#complete()
    else this.#before.end([])
  }

  onError(error: Error): void {
    logFailure(this.source, error)
    this.#fail()
  }

  onInternalError(error: unknown): void {
    this.source.log.error({ err: error, requestId: this.source.id }, 'renewing a stored response failed')
    this.#fail()
  }

  #complete(): void {
    if (this.#isOver) return
    this.#plan.fill.end()
    this.#finish()
  }

  #fail(): void {
    if (this.#isOver) return
    this.#plan.fill.fail()
    this.#finish()
  }

  #finish(): void {
    this.#isOver = true
    this.deadline.cancel()
    this.#before?.destroy()
    this.#sent?.end()
    this.#plan.onOver(this)
  }
}

const onDeadline = guarded<Refresh>((refresh) => refresh.abort(new DeadlineExceeded()))
