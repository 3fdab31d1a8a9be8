import { createHash, timingSafeEqual } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Caller } from '../../src/lib/caller.ts'
import type { User } from './credential-files.ts'
import { parseHash, verifyPassword } from './password.ts'

// What the password of an unknown user is compared with, and a wrong one of a user with a secret, where no user has a hash.
const NOBODY = parseHash(
  '$argon2id$v=19$m=19456,t=2,p=1$c2FsbHlwb3J0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
)

/** Local users by their names. */
export class Users {
  readonly #users = new Map<string, User>()
  // The first hash stands for users who have none, so that a refusal takes as long for all.
  #nobody = NOBODY

  constructor(users: readonly User[] = []) {
    for (const user of users) this.add(user)
  }

  /** Adds a user; throws where another of that name is known, since a session tells no more than the name. */
  add(user: User): void {
    // A Mac may type "é" as two characters (RFC 8265 section 3.4).
    const name = user.name.normalize('NFC')
    const known = this.#users.get(name)
    if (known !== undefined && !isDeepStrictEqual(known, user))
      throw new Error(`Two users are named "${user.name}"; a name stands for one user in the whole gateway`)
    if (this.#nobody === NOBODY && user.password !== undefined) this.#nobody = parseHash(user.password)
    this.#users.set(name, user)
  }

  /** Counts the users. */
  get size(): number {
    return this.#users.size
  }

  /** Finds a user by name. */
  find(name: string): User | undefined {
    return this.#users.get(name.normalize('NFC'))
  }

  /** Finds the user whose name and password these are, slowly. */
  async verify(name: string, password: string): Promise<User | undefined> {
    const user = this.find(name)
    if (await matches(user, password, this.#nobody)) return user
    const composed = password.normalize('NFC')
    return composed !== password && (await matches(user, composed, this.#nobody)) ? user : undefined
  }
}

/** Tells what a user is as a caller, but for the way in. */
export const callerOf = ({ name, email, roles = [] }: User): Omit<Caller, 'by'> => ({
  id: name,
  name,
  ...(email === undefined ? {} : { email }),
  roles,
  scopes: [],
  claims: {}
})

async function matches(user: User | undefined, password: string, nobody: typeof NOBODY): Promise<boolean> {
  if (user?.secret !== undefined && timingSafeEqual(digest(user.secret), digest(password))) return true
  const hash = user?.password === undefined ? nobody : parseHash(user.password)
  return hash !== undefined && (await verifyPassword(password, hash)) && user?.password !== undefined
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
