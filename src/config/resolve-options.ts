import { deepFreeze, isObject, prune } from '../lib/schema.ts'
import { type Fault, type Path, showPath } from './fault.ts'
import type { FaultList } from './fault-list.ts'
import type { ConfigModule, OptionsState } from './merge-options.ts'
import type { ValueFault } from './messages.ts'
import { validateWithDefaults } from './validate.ts'
import { faultIn, hasValueAt, maskOf, messageAsWritten } from './written.ts'

/** The valid part of options, and the paths of the invalid ones. */
export interface ValidOptions {
  readonly options: object
  readonly removed: readonly Path[]
}

/** Completes merged options: fills in defaults, validates and freezes them, once for all routes that share them. */
export class OptionsResolver {
  readonly #resolved = new WeakMap<OptionsState, unknown>()
  readonly #invalid = new WeakSet<object>()
  readonly #validParts = new WeakMap<object, ValidOptions>()
  readonly #faults: FaultList
  readonly #file: string

  constructor(faults: FaultList, file: string) {
    this.#faults = faults
    this.#file = file
  }

  /** Returns the complete options of a state; false if the module is off. */
  resolve(module: ConfigModule, state: OptionsState): unknown {
    return state.on ? this.resolveDefaults(module, state) : false
  }

  /** Returns the complete options of a state as if the module were on. */
  resolveDefaults(module: ConfigModule, state: OptionsState): unknown {
    let options = this.#resolved.get(state)
    if (options !== undefined) return options
    const { value, faults } = validateWithDefaults(
      module.options,
      prune(module.options, state.merged ?? {}),
      maskOf(state.written.at(-1))
    )
    for (const fault of faults)
      if (!state.written.some((written) => this.#faults.hasAt(faultIn(written, fault))))
        this.#faults.add(this.locate(module, state, fault))
    options = deepFreeze(value)
    this.#resolved.set(state, options)
    // Options of the wrong type are reported already; the module does not check what replaced them.
    const isWrongType = state.written.some(({ value }) => typeof value !== 'boolean' && !isObject(value))
    if (isObject(options) && (faults.length > 0 || isWrongType)) {
      this.#invalid.add(options)
      if (!isWrongType) this.#keepValidPart(module, options, faults)
    }
    return options
  }

  /** Keeps the valid part of options, so that the module's own errors are reported together with the others. */
  #keepValidPart(module: ConfigModule, options: object, faults: readonly ValueFault[]): void {
    const removed = faults.map(({ path }) =>
      path.slice(0, path.findIndex((key) => typeof key === 'number') >>> 0)
    )
    if (removed.some((path) => path.length === 0)) return
    const rest = validateWithDefaults(
      module.options,
      removed.reduce<unknown>(withoutPath, options),
      () => undefined
    )
    if (rest.faults.length === 0 && isObject(rest.value))
      this.#validParts.set(options, { options: deepFreeze(rest.value), removed })
  }

  /** Returns the part of resolved options that a module's own check may read; undefined if there is none. */
  validPartOf(options: object): ValidOptions | undefined {
    return this.isValid(options) ? { options, removed: [] } : this.#validParts.get(options)
  }

  /** Returns whether resolved options match their schema. */
  isValid(options: object): boolean {
    return !this.#invalid.has(options)
  }

  /** Returns the error at the innermost place that sets the invalid option. */
  locate(module: ConfigModule, state: OptionsState, fault: ValueFault): Fault {
    const innermost = state.written.findLast(({ value }) => hasValueAt(value, fault.path))
    const variable =
      innermost === undefined && hasValueAt(state.merged, fault.path)
        ? module.variables?.[String(fault.path[0])]
        : undefined
    if (variable !== undefined)
      return { file: this.#file, path: '', message: `${variable} in the environment: ${fault.message}` }
    const written = innermost ?? state.written.at(-1)
    if (written === undefined)
      return { file: this.#file, path: showPath([module.key, ...fault.path]), message: fault.message }
    return faultIn(written, { ...fault, message: messageAsWritten(written, fault) })
  }
}

function withoutPath(value: unknown, path: Path): unknown {
  const [key, ...rest] = path
  if (!isObject(value) || typeof key !== 'string' || !Object.hasOwn(value, key)) return value
  const { [key]: inner, ...others } = value
  return rest.length === 0 ? others : { ...others, [key]: withoutPath(inner, rest) }
}
