/** Rows with their keys, by kind. */
export type Rows = Readonly<Record<string, readonly { readonly name: string }[]>>

interface Row {
  readonly row: object
  /** The row as JSON. */
  readonly text: string
  /** The number of the update that changed it last. */
  readonly changed: number
}

/** The rows of a table that is read again and again: each reader gets those that have changed since it read last. */
export class Changes {
  #update = 0
  /** The number of the update that removed a row last: who read before it needs all rows. */
  #removed = 0
  #rows = new Map<string, ReadonlyMap<string, Row>>()

  /** The number of updates so far. */
  get number(): number {
    return this.#update
  }

  /** Replaces the rows. */
  update(rows: Rows): void {
    this.#update++
    for (const [kind, list] of Object.entries(rows)) {
      const known = this.#rows.get(kind)
      const next = new Map<string, Row>()
      for (const row of list) {
        const before = known?.get(row.name)
        next.set(row.name, before?.row === row ? before : this.#newer(row, before))
      }
      if (known !== undefined && [...known.keys()].some((name) => !next.has(name)))
        this.#removed = this.#update
      this.#rows.set(kind, next)
    }
  }

  #newer(row: object, before: Row | undefined): Row {
    const text = JSON.stringify(row)
    return { row, text, changed: before?.text === text ? before.changed : this.#update }
  }

  /** Returns whether a reader that has the rows of an update needs all of them again. */
  needsAll(update: number): boolean {
    return update < this.#removed || update > this.#update
  }

  /** Returns the members of a JSON object: for each kind, the rows that have changed since an update. */
  since(update: number): string {
    const members = [...this.#rows].map(([kind, rows]) => {
      const texts: string[] = []
      for (const { text, changed } of rows.values()) if (changed > update) texts.push(text)
      return `${JSON.stringify(kind)}:[${texts.join()}]`
    })
    return members.join()
  }
}
