//! One file for each command: its arguments directly above its handler.

mod adopt;
mod apply;
mod clone;
mod config;
mod console;
mod cp;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod diff;
mod disk;
mod doctor;
mod edit;
mod events;
mod exec;
mod explain;
mod explain_code;
pub(crate) mod garm_provider;
mod gc;
pub(crate) mod get;
mod gitlab_executor;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod image;
mod init;
mod init_answers;
mod init_args;
mod inventory;
mod launch;
mod list;
mod logs;
mod man;
mod network;
mod next_ip;
pub(crate) mod pool;
mod pool_add;
mod power;
mod rename;
mod render;
mod repave;
pub(crate) mod runner;
mod schema;
mod screenshot;
mod seed;
mod set;
mod snapshot;
mod ssh;
mod ssh_config;
mod storage;
mod test_conn;
mod top;
mod uninstall;
mod wait;
mod whois;

use clap::Subcommand;

use crate::ui::Ui;
use crate::{Global, completion};
use foundry_core::error::Error;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(create::CreateArgs),
    Launch(launch::LaunchArgs),
    Apply(apply::ApplyArgs),
    Diff(diff::DiffArgs),
    Edit(edit::EditArgs),
    Set(set::SetArgs),
    Label(set::LabelArgs),
    Annotate(set::AnnotateArgs),
    History(history::HistoryArgs),
    Destroy(destroy::DestroyArgs),
    Start(power::StartArgs),
    Stop(power::StopArgs),
    Restart(power::RestartArgs),
    Repave(repave::RepaveArgs),
    Pause(power::PauseArgs),
    Resume(power::ResumeArgs),
    Rename(rename::RenameArgs),
    Adopt(adopt::AdoptArgs),
    Clone(clone::CloneArgs),
    Wait(wait::WaitArgs),
    Console(console::ConsoleArgs),
    Logs(logs::LogsArgs),
    Screenshot(screenshot::ScreenshotArgs),
    List(list::ListArgs),
    Get(get::GetArgs),
    Top(top::TopArgs),
    Events(events::EventsArgs),
    Whois(whois::WhoisArgs),
    NextIp(next_ip::NextIpArgs),
    Inventory(inventory::InventoryArgs),
    Render(render::RenderArgs),
    /// Show one VM (same as get)
    Vm(get::VmArgs),
    Image(image::ImageArgs),
    Disk(disk::DiskArgs),
    Snapshot(snapshot::SnapshotArgs),
    Pool(pool::PoolArgs),
    Network(network::NetworkArgs),
    Storage(storage::StorageArgs),
    Seed(seed::SeedArgs),
    Ssh(ssh::SshArgs),
    SshConfig(ssh_config::SshConfigArgs),
    Exec(exec::ExecArgs),
    Cp(cp::CpArgs),
    Gc(gc::GcArgs),
    Runner(runner::RunnerArgs),
    Uninstall(uninstall::UninstallArgs),
    Config(config::ConfigArgs),
    Init(init_args::InitArgs),
    Explain(explain::ExplainArgs),
    Schema(schema::SchemaArgs),
    Options(help::OptionsArgs),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
    #[command(name = "__complete")]
    Complete(completion::CompleteArgs),
    TestConn(test_conn::TestConnArgs),
    Doctor(doctor::DoctorArgs),
    GarmProvider(garm_provider::GarmProviderArgs),
    GitlabExecutor(gitlab_executor::GitlabExecutorArgs),
}

impl Command {
    /// Whether the command works without a valid configuration: it shows or repairs it, or needs none.
    fn does_without_configuration(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Explain(_)
                | Self::Schema(_)
                | Self::Options(_)
                | Self::Completion(_)
                | Self::Man(_)
                | Self::Complete(_)
                // It has exit codes of its own for a wrong configuration, too.
                | Self::GitlabExecutor(_)
        )
    }
}

/// Runs the command and returns the exit code of a successful one: 0, that of a program that it ran, or diff's.
pub(crate) fn run_command(command: &Command, global: &Global, ui: &Ui) -> Result<u8, Error> {
    if !command.does_without_configuration() {
        global.resolved().check_errors()?;
        global.resolved().ignored_files().iter().for_each(|why| ui.show_warning(why));
    }
    match command {
        Command::Diff(args) => return diff::run_diff(args, global, ui),
        Command::Ssh(args) => return ssh::run_ssh(args, global, ui),
        Command::Exec(args) => return exec::run_exec(args, global, ui),
        Command::Cp(args) => return cp::run_cp(args, global, ui),
        Command::GarmProvider(args) => return garm_provider::run_garm_provider(args, global),
        Command::GitlabExecutor(args) => {
            return Ok(gitlab_executor::run_gitlab_executor(args, global, ui));
        }
        Command::Create(args) => create::run_create(args, global, ui),
        Command::Launch(args) => launch::run_launch(args, global, ui),
        Command::Apply(args) => apply::run_apply(args, global, ui),
        Command::Edit(args) => edit::run_edit(args, global, ui),
        Command::Set(args) => set::run_set(args, global, ui),
        Command::Label(args) => set::run_label(args, global, ui),
        Command::Annotate(args) => set::run_annotate(args, global, ui),
        Command::History(args) => history::run_history(args, global, ui),
        Command::Destroy(args) => destroy::run_destroy(args, global, ui),
        Command::Start(args) => power::run_start(args, global, ui),
        Command::Stop(args) => power::run_stop(args, global, ui),
        Command::Restart(args) => power::run_restart(args, global, ui),
        Command::Repave(args) => repave::run_repave(args, global, ui),
        Command::Pause(args) => power::run_pause(args, global, ui),
        Command::Resume(args) => power::run_resume(args, global, ui),
        Command::Rename(args) => rename::run_rename(args, global, ui),
        Command::Adopt(args) => adopt::run_adopt(args, global, ui),
        Command::Clone(args) => clone::run_clone(args, global, ui),
        Command::Wait(args) => wait::run_wait(args, global, ui),
        Command::Console(args) => console::run_console(args, global, ui),
        Command::Logs(args) => logs::run_logs(args, global, ui),
        Command::Screenshot(args) => screenshot::run_screenshot(args, global, ui),
        Command::List(args) => list::run_list(args, global, ui),
        Command::Get(args) => get::run_get(args, global, ui),
        Command::Vm(args) => get::run_vm(args, global, ui),
        Command::Top(args) => top::run_top(args, global, ui),
        Command::Events(args) => events::run_events(args, global, ui),
        Command::Whois(args) => whois::run_whois(args, global, ui),
        Command::NextIp(args) => next_ip::run_next_ip(args, global, ui),
        Command::Inventory(args) => inventory::run_inventory(args, global, ui),
        Command::Render(args) => render::run_render(args, global, ui),
        Command::Image(args) => image::run_image(args, global, ui),
        Command::Disk(args) => disk::run_disk(args, global, ui),
        Command::Snapshot(args) => snapshot::run_snapshot(args, global, ui),
        Command::Pool(args) => pool::run_pool(args, global, ui),
        Command::Network(args) => network::run_network(args, global, ui),
        Command::Storage(args) => storage::run_storage(args, global, ui),
        Command::Seed(args) => seed::run_seed(args, global, ui),
        Command::SshConfig(args) => ssh_config::run_ssh_config(args, global, ui),
        Command::Runner(args) => runner::run_runner(args, global, ui),
        Command::Gc(args) => gc::run_gc(args, global, ui),
        Command::Uninstall(args) => uninstall::run_uninstall(args, global, ui),
        Command::Config(args) => config::run_config(args, global, ui),
        Command::Init(args) => init::run_init(args, global, ui),
        Command::Explain(args) => explain::run_explain(args, ui),
        Command::Schema(args) => schema::run_schema(args, ui),
        Command::Options(args) => help::run_options(args, ui),
        Command::Completion(args) => completion::print_script(args, ui),
        Command::Man(args) => man::run_man(args, ui),
        Command::Complete(args) => completion::run_complete(args, ui),
        Command::TestConn(args) => test_conn::run_test_conn(args, global, ui),
        Command::Doctor(args) => doctor::run_doctor(args, global, ui),
    }?;
    Ok(0)
}
