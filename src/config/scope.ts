import { type Alternatives, alternativesText, readWhen } from '../lib/conditions/options.ts'

/** What identifies an entry of the config: its name, or else its hosts, paths, methods and conditions. */
interface Identity {
  readonly name?: unknown
  readonly host?: unknown
  readonly path?: unknown
  readonly methods?: unknown
  readonly when?: unknown
}

/** The root, a group or a route, identified independently of its position in the file: shared counts are keyed by it. */
export class Scope {
  /** The key in shared state; empty for a group or a route until `nameScopes` has run. */
  id: string
  readonly parent: Scope | undefined
  readonly #ownIdentity: string | undefined
  /** The first of its routes in the order of their identities. */
  #firstRoute: string | undefined

  private constructor(parent: Scope | undefined, ownIdentity: string | undefined, id: string) {
    this.parent = parent
    this.#ownIdentity = ownIdentity
    this.id = id
  }

  static root(): Scope {
    return new Scope(undefined, 'root', 'root')
  }

  /** Returns the scope of a group or a route inside this one. */
  inside({ name, host, path, methods, when }: Identity): Scope {
    const own =
      typeof name === 'string'
        ? JSON.stringify(name)
        : [host, path, methods, when].every((part) => part === undefined)
          ? undefined
          : identityOf(
              sorted(host)?.map((each) => each.toLowerCase()),
              path,
              methods,
              ...conditionsOf(readWhen(when))
            )
    return new Scope(this, own, '')
  }

  /** Adds a route, by its hosts, paths, methods and conditions, to every group that it is in. */
  addRoute(
    hosts: readonly string[],
    paths: readonly string[],
    methods: readonly string[] | undefined,
    when: Alternatives
  ): void {
    this.#addRoute(identityOf(hosts, paths, methods, ...conditionsOf(when)))
  }

  #addRoute(identity: string): void {
    if (this.parent === undefined) return
    if (this.#firstRoute === undefined || identity < this.#firstRoute) this.#firstRoute = identity
    this.parent.#addRoute(identity)
  }

  /** The identity among its siblings. */
  get identity(): string {
    return this.#ownIdentity ?? `(${this.#firstRoute})`
  }

  /** The identities of its groups and its own, without groups that have no name, host or path. */
  get shortId(): string {
    return `${this.prefix} ${this.identity}`
  }

  /** The prefix of the ids of scopes inside; a group without an identity of its own adds nothing. */
  private get prefix(): string {
    const parent = this.parent
    if (parent === undefined) return ''
    return parent.#ownIdentity === undefined || parent.parent === undefined
      ? parent.prefix
      : `${parent.prefix} ${parent.#ownIdentity}`
  }

  /** Like `shortId`, with the first route of each group, for scopes whose short ids collide. */
  get longId(): string {
    if (this.parent === undefined) return ''
    return `${this.parent.longId} ${this.#ownIdentity ?? ''}(${this.#firstRoute})`
  }
}

/** Sets the id of each scope: the short one, or the long one if short ones collide. */
export function nameScopes(scopes: readonly Scope[]): void {
  const known = new Map<string, Scope>()
  for (const scope of scopes) {
    const id = scope.shortId
    const other = known.get(id)
    if (other === undefined) {
      known.set(id, scope)
      scope.id = id
    } else {
      other.id = other.longId
      scope.id = scope.longId
    }
  }
}

const conditionsOf = (when: Alternatives): string[] => (when.length === 0 ? [] : [alternativesText(when)])

const identityOf = (...parts: readonly unknown[]): string => JSON.stringify(parts.map(sorted))

// Hosts, paths and methods are sets: their order does not matter, nor does a list of one.
const sorted = (value: unknown): readonly string[] | undefined =>
  value === undefined ? undefined : [value].flat().map(String).sort()
