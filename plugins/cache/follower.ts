import type { CacheAnswer, CacheFill, CacheFollower, FollowResult } from '../../src/lib/contracts/cache.ts'
import { answerFrom } from './answer.ts'
import { writeCacheStatus } from './cache-status.ts'
import type { FlightFollower } from './coalescing/flight.ts'
import type { SharedHead } from './fill.ts'
import { secondaryKey } from './key.ts'
import type { PresentedRequest } from './presented-request.ts'
import { isNotModified, notModifiedFields } from './validators.ts'

/** What of a request decides whether a shared response is for it. */
export interface FollowContext {
  readonly request: PresentedRequest
  readonly primary: string
  /** Makes the fill of a request that has to ask by itself. */
  fillAlone(): CacheFill
}

/** A request that waits for the response to another one. */
export class Follower implements CacheFollower {
  readonly #follower: FlightFollower<SharedHead>
  readonly #context: FollowContext

  constructor(follower: FlightFollower<SharedHead>, context: FollowContext) {
    this.#follower = follower
    this.#context = context
  }

  async wait(ms: number): Promise<FollowResult> {
    const result = await this.#follower.wait(ms)
    if (result === 'timeout') return { kind: 'timeout' }
    if (result === 'alone' || !this.#isFor(result.head)) {
      this.#follower.leave()
      return { kind: 'fill', fill: this.#context.fillAlone() }
    }
    return { kind: 'answer', answer: this.#answer(result.head) }
  }

  leave(): void {
    this.#follower.leave()
  }

  /** Tells whether the leader's request had the same values of what the response varies by. */
  #isFor({ vary, key }: SharedHead): boolean {
    const { primary, request } = this.#context
    return secondaryKey(primary, vary, request) === key
  }

  #answer({ response }: SharedHead): CacheAnswer {
    const { request } = this.#context
    if ('body' in response) {
      this.#follower.leave()
      return answerFrom(response, request, COLLAPSED)
    }
    const { entry, length } = response
    const { fields, status, age, source } = entry
    const ownFields = [...fields, 'age', String(Math.floor(age / 1000))]
    if (status === 200 && isNotModified(request, fields)) {
      this.#follower.leave()
      return {
        status: 304,
        fields: notModifiedFields(ownFields),
        source,
        body: null,
        cacheStatus: COLLAPSED
      }
    }
    if (length !== undefined) ownFields.push('content-length', String(length))
    return { status, fields: ownFields, source, body: this.#follower.body(), cacheStatus: COLLAPSED }
  }
}

const COLLAPSED = writeCacheStatus({ fwd: 'uri-miss', stored: true, collapsed: true })
