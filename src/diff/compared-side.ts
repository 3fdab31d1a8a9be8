import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { namedEntries } from '../config/facets.ts'
import type { Plan } from '../config/plan-types.ts'
import { maskerOf } from '../config/redact.ts'
import type { Concern, Target } from '../kit/index.ts'
import { stableText } from '../lib/compare-options.ts'
import { getOrCreate } from '../lib/memoize.ts'
import { isObject, mapFiles } from '../lib/schema.ts'

/** A plan, and texts that are equal for what is the same in another one. */
export class ComparedSide {
  readonly plan: Plan
  readonly masked: ReturnType<typeof maskerOf>
  readonly #folder: string
  readonly #texts = new WeakMap<object, string>()
  readonly #files = new Map<string, string>()
  readonly #named: Concern | undefined

  constructor(plan: Plan, folder: string) {
    this.plan = plan
    this.masked = maskerOf(plan)
    this.#folder = folder
    this.#named = plan.catalog.concerns.find(({ named }) => named === true)
  }

  /** Returns a text that is equal for equal options: files count by their content, upstreams that are asked by where they are. */
  textOf(module: Concern | Target, options: unknown): string {
    if (!isObject(options)) return stableText(options)
    return getOrCreate(this.#texts, options, () => {
      const { global: _global, ...rest } = this.plainOptions(module, options)
      const asks = 'target' in module ? undefined : module.comparison?.asks
      const asked = asks?.(options as never).map((name) => this.destination(name)) ?? []
      const files = 'target' in module ? undefined : module.comparison?.files
      const texts = files?.(options as never).map((file) => this.fileText(file)) ?? []
      return stableText([rest, asked, texts])
    })
  }

  /** Returns options with each file in place of its name. */
  plainOptions(module: Concern | Target, options: object): Readonly<Record<string, unknown>> {
    return mapFiles(module.options, options, (file) => this.fileText(file)) as Record<string, unknown>
  }

  /** Returns `plainOptions` of a module that is on, and undefined for one that is not. */
  plainValue(module: Concern | Target, options: unknown): Readonly<Record<string, unknown>> | undefined {
    return isObject(options) ? this.plainOptions(module, options) : undefined
  }

  /** Returns a text that is equal for files of the same content, and for folders of the same name. */
  fileText(file: string): string {
    return getOrCreate(this.#files, file, () => {
      try {
        return createHash('sha256').update(readFileSync(file)).digest('hex')
      } catch {
        return relative(this.#folder, file)
      }
    })
  }

  /** Returns a text that is equal for upstreams whose requests are sent to the same places. */
  destination(nameOrUrl: string): string {
    return this.destinations(nameOrUrl).join(' ')
  }

  /** Returns a text for each place that the requests to an upstream are sent to. */
  destinations(nameOrUrl: string): readonly string[] {
    const entries = namedEntries(this.plan)
    const entry = Object.hasOwn(entries, nameOrUrl) ? entries[nameOrUrl] : undefined
    const find = this.#named?.comparison?.destinations
    return entry === undefined || find === undefined ? [nameOrUrl.replace(/\/$/, '')] : find(entry as never)
  }
}

/** The two configs. */
export type Sides = Readonly<Record<'before' | 'after', ComparedSide>>
