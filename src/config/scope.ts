import { forEachSliced } from '../lib/time-slicing.ts'

/** What an entry of the config is known by: its name, else its hosts, paths and methods. */
interface Identity {
  readonly name?: unknown
  readonly host?: unknown
  readonly path?: unknown
  readonly methods?: unknown
}

/** A place of the config: the root, a group or a route. What is counted there is keyed by what the place is, never by where it stands in the file. */
export class Scope {
  /** The key of the place; that of a group or a route is known once all routes are. */
  id: string
  readonly parent: Scope | undefined
  readonly #own: string | undefined
  /** The least of its routes. */
  #least: string | undefined

  private constructor(parent: Scope | undefined, own: string | undefined, id: string) {
    this.parent = parent
    this.#own = own
    this.id = id
  }

  static root(): Scope {
    return new Scope(undefined, 'root', 'root')
  }

  /** Opens the scope of a group or a route inside of this one. */
  inside({ name, host, path, methods }: Identity): Scope {
    const own =
      typeof name === 'string'
        ? JSON.stringify(name)
        : host === undefined && path === undefined && methods === undefined
          ? undefined
          : identityOf(
              sorted(host)?.map((each) => each.toLowerCase()),
              path,
              methods
            )
    return new Scope(this, own, '')
  }

  /** Notes a route, by all its hosts, paths and methods, on every group that it is in. */
  note(hosts: readonly string[], paths: readonly string[], methods: readonly string[] | undefined): void {
    this.#noteRoute(identityOf(hosts, paths, methods))
  }

  #noteRoute(identity: string): void {
    if (this.parent === undefined) return
    if (this.#least === undefined || identity < this.#least) this.#least = identity
    this.parent.#noteRoute(identity)
  }

  /** What it is known by among its siblings. */
  get own(): string {
    return this.#own ?? `(${this.#least})`
  }

  /** What its groups and it are known by, without the groups that have no name, host and path. */
  get shortId(): string {
    return `${this.outer} ${this.own}`
  }

  /** What the places inside of it begin with: a group without an identity of its own adds nothing. */
  private get outer(): string {
    const parent = this.parent
    if (parent === undefined) return ''
    return parent.#own === undefined || parent.parent === undefined
      ? parent.outer
      : `${parent.outer} ${parent.#own}`
  }

  /** Like `shortId`, with the least route of each group, for places that have the same short one. */
  get longId(): string {
    if (this.parent === undefined) return ''
    return `${this.parent.longId} ${this.#own ?? ''}(${this.#least})`
  }
}

/** Gives each scope its id. */
export async function nameScopes(scopes: readonly Scope[]): Promise<void> {
  const known = new Map<string, Scope>()
  await forEachSliced(scopes, (scope) => {
    const id = scope.shortId
    const other = known.get(id)
    if (other === undefined) {
      known.set(id, scope)
      scope.id = id
    } else {
      other.id = other.longId
      scope.id = scope.longId
    }
  })
}

const identityOf = (...parts: readonly unknown[]): string => JSON.stringify(parts.map(sorted))

/** Lists of hosts, paths and methods are sets: neither their order nor a list of one makes a difference. */
const sorted = (value: unknown): readonly string[] | undefined =>
  value === undefined ? undefined : [value].flat().map(String).sort()
