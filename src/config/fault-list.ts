import { nearest } from '../lib/schema.ts'
import { type Fault, type Path, showPlace, sortFaults, type UnknownOption } from './fault.ts'
import { unknownOption } from './messages.ts'
import { OptionLocations } from './option-locations.ts'
import { faultAt, type Source } from './source.ts'

/** Collects the errors of a config, so that they are reported together. */
export class FaultList {
  readonly #faults: Fault[] = []
  /** Values whose variable or file is missing; other errors at the same place follow from that. */
  readonly missingValues: Fault[] = []

  add(...faults: readonly Fault[]): void {
    this.#faults.push(...faults)
  }

  /** Adds an error at a path of a source. */
  addAt(source: Source, path: Path, message: string): void {
    this.#faults.push(faultAt(source, path, message))
  }

  /** Adds an error for each unknown key of an object; keys with `x-` are the user's own. */
  addUnknownKeys(source: Source, at: Path, value: object, known: readonly string[]): void {
    for (const name of Object.keys(value)) {
      if (known.includes(name) || name.startsWith('x-')) continue
      const key = [...at, name]
      const fault: UnknownOption = { ...faultAt(source, key, unknownOption(name, known)), key, known }
      this.#faults.push(fault)
    }
  }

  /** Returns whether there is an error at the same place and path. */
  hasAt({ file, path, line }: Fault): boolean {
    return this.#faults.some((fault) => fault.file === file && fault.path === path && fault.line === line)
  }

  /** Returns all errors in the order of the file, without duplicates, with hints where an unknown option belongs. */
  sorted(schema: Readonly<Record<string, unknown>>, mainFile: string): Fault[] {
    const missing = new Set(this.missingValues.map(placeKey))
    const all = unique([
      ...this.missingValues,
      ...this.#faults.filter((fault) => !missing.has(placeKey(fault)))
    ])
    let locations: OptionLocations | undefined
    const withHints = all.map((fault) => {
      if (!isUnknownOption(fault)) return fault
      const { key, known, ...rest } = fault
      const name = String(key.at(-1))
      locations ??= new OptionLocations(schema)
      const hint = locations.hint(key, { hasNearName: nearest(name, known) !== undefined })
      return { ...rest, message: unknownOption(name, known, hint) }
    })
    return sortFaults(withHints, [mainFile])
  }
}

const isUnknownOption = (fault: Fault): fault is UnknownOption => 'known' in fault

const placeKey = (fault: Fault): string => `${showPlace(fault)} ${fault.path}`

const unique = (faults: readonly Fault[]): Fault[] => [
  ...new Map(faults.map((fault) => [`${placeKey(fault)} ${fault.message}`, fault])).values()
]
